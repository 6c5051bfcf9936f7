"""Answers that are programs: how they are read, found, run and counted."""

import hashlib
import itertools
import json
import math

import numpy as np
import pytest

from fairtune.data import Row
from fairtune.data.corpus import Examples
from fairtune.data.shapes import Reading, read_examples
from fairtune.data.sources import Faults
from fairtune.data.task_data import Splits
from fairtune.errors import DataError, FairtuneError
from fairtune.evaluate.code import code_of
from fairtune.evaluate.generation import Answer
from fairtune.evaluate.metrics import METRICS, Facts, Outcome, Trial
from fairtune.evaluate.metrics.pass_at_k import estimate
from fairtune.evaluate.sandbox import available, confinement
from fairtune.execute import checked, confined, read_request
from fairtune.execute.results import score
from fairtune.records import RunFolder
from fairtune.study import Task, run_id
from tests import tiny
from tests.cli.command import inside
from tests.cli.test_code import code_study

COLUMNS = {"prompt": "query", "completion": "completion", "tests": "test"}
MORE = {"prelude": "prompt", "entry_point": "entry_point"}
ROW = {
    "query": "Add one.",
    "completion": "def f(x):\n    return x + one",
    "test": "def check(f):\n    assert f(1) == 2",
    "prompt": "one = 1",
    "entry_point": "f",
}


@pytest.mark.parametrize(("samples", "k"), [(1, 1), (5, 1), (5, 2), (5, 5), (6, 3)])
def test_the_estimate_is_the_share_of_all_draws_that_hold_a_passing_one(samples, k):
    for passed in range(samples + 1):
        draws = list(itertools.combinations([True] * passed + [False] * (samples - passed), k))
        assert estimate(samples, passed, k) == pytest.approx(sum(map(any, draws)) / len(draws))


def test_the_estimate_is_that_of_the_paper():
    """As figure 3 of arXiv:2107.03374 computes it."""
    for n, c, k in itertools.product((20, 200), (0, 1, 7, 20), (1, 10)):
        paper = 1.0 if n - c < k else 1.0 - np.prod(1.0 - k / np.arange(n - c + 1, n + 1))
        assert math.isclose(estimate(n, c, k), paper, abs_tol=1e-12)


def test_the_metric_is_the_mean_over_items():
    metric = METRICS["pass_at_5"]
    items = [outcome(*[True] * passed, *[False] * (6 - passed)) for passed in (0, 1, 6)]
    sums = np.array([metric.item(item) for item in items]).sum(axis=0)
    assert float(metric.aggregate(sums)) == pytest.approx((0 + 5 / 6 + 1) / 3)
    with pytest.raises(ValueError, match="needs 10"):
        METRICS["pass_at_10"].item(items[0])


def outcome(*passed):
    return Outcome("a", "b", "c", output="d", trials=tuple(Trial("d", one, "") for one in passed))


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (Facts(), "columns: {tests"),
        (Facts(tests=True, samples=4, drawn=True), "code: {samples: 5}"),
        (Facts(tests=True, samples=5), "greedy ones are all the same"),
        (Facts(tests=True, samples=5, drawn=True), None),
    ],
)
def test_a_task_without_tests_or_samples_is_told(facts, words):
    reason = METRICS["pass_at_5"].fits(facts)
    assert reason is None if words is None else words in (reason or "")


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("def f(): pass", "def f(): pass"),
        ("  return 1", "  return 1"),
        ("First:\n```python\na\n```\nBetter:\n```python\nb\nc\n```\nDone.", "b\nc\n"),
        ("```\na\n```", "a\n"),
        ("```py\na\n", "a\n"),
        ("```Python3\na\n```\nIt prints\n```json\n{}\n```\nas asked.", "a\n"),
        ("```json\n{}\n```\nNothing else.", "```json\n{}\n```\nNothing else."),
        ("Use `x` and ```y``` so.", "Use `x` and ```y``` so."),
        ("1. So:\n   ```python\n   a\n   ```", "   a\n"),
    ],
)
def test_the_program_is_the_last_python_block_or_the_whole_answer(answer, code):
    assert code_of(answer) == code


def read(rows, columns):
    faults = Faults()
    made = [Row(row, f"row {index}") for index, row in enumerate(rows)]
    found = list(read_examples(made, Reading("prompt_completion", columns=columns), faults))
    faults.settle("rows")
    return found


def test_tests_are_read_from_the_columns_that_the_task_names():
    whole = read([ROW], {**COLUMNS, **MORE})[0].checks
    assert whole.program("code") == "one = 1\n\ncode\n\ndef check(f):\n    assert f(1) == 2\n\ncheck(f)\n"
    assert read([ROW], COLUMNS)[0].checks.program("code") == f"code\n\n{ROW['test']}\n"
    listed = read([{**ROW, "test": ["assert a", "assert b"]}], COLUMNS)[0].checks
    assert listed.program("code") == "code\n\nassert a\nassert b\n"
    assert read([{**ROW, "test": None}], COLUMNS)[0].checks is None
    with pytest.raises(DataError, match="'tests' must be text"):
        read([{**ROW, "test": 3}], COLUMNS)


def test_a_column_of_tests_that_the_task_does_not_name_is_no_test():
    assert read([{"prompt": "a", "completion": "b", "tests": "assert True"}], {})[0].checks is None


def test_other_tests_are_other_data_with_the_same_items():
    def splits(row, columns):
        return Splits(Examples([]), Examples([]), Examples(read([row], columns)))

    without = splits(ROW, {"prompt": "query", "completion": "completion"})
    first, second = splits(ROW, COLUMNS), splits({**ROW, "test": "assert True"}, COLUMNS)
    assert len({part.test[0].id for part in (without, first, second)}) == 1
    assert len({part.fingerprint() for part in (without, first, second)}) == 3
    # What data without tests had before there were tests.
    assert without.fingerprint() == hashlib.sha256(f"test {without.test[0].id}".encode()).hexdigest()[:16]


def test_tests_outlive_the_way_to_the_disk():
    examples = read([ROW, {**ROW, "test": None}], {**COLUMNS, **MORE})
    assert [example.checks for example in Examples.of(examples, in_memory=0)] == [e.checks for e in examples]


def test_limits_and_tests_are_part_of_a_run_and_their_defaults_are_not(tmp_path, llama, monkeypatch):
    monkeypatch.setattr(confined, "available", lambda: None)
    spec = read_request(code_study(tmp_path, llama)).specs[0]
    same = read_request(code_study(tmp_path, llama, task={"code": {"time": "10s", "memory": "512MiB"}})).specs[0]
    other = read_request(code_study(tmp_path, llama, task={"code": {"time": "2s"}})).specs[0]
    unsafe = read_request(code_study(tmp_path, llama, allow_unsafe_code=True)).specs[0]
    assert spec.run_id == same.run_id == unsafe.run_id == run_id(spec) != other.run_id
    assert other.task.task.code.time == 2.0


def test_where_there_is_no_sandbox_a_study_is_refused_when_it_is_read(tmp_path, llama, monkeypatch):
    monkeypatch.setattr(confined, "available", lambda: "this is a test")
    result = inside("run", code_study(tmp_path, llama), cwd=tmp_path)
    assert result.returncode == 2
    for words in ("allow_unsafe_code: true", "there is none here: this is a test", "limits of time, memory"):
        assert words in " ".join(result.stderr.split())
    assert not (tmp_path / "runs").exists()
    assert read_request(code_study(tmp_path, llama, allow_unsafe_code=True)).specs
    assert read_request(code_study(tmp_path, llama, evaluate="exact_match")).specs


def test_a_metric_that_cannot_be_had_is_refused_when_the_study_is_read(tmp_path, llama):
    result = inside("run", code_study(tmp_path, llama, evaluate=["pass_at_1", "pass_at_5"]), cwd=tmp_path)
    assert result.returncode == 2
    assert "evaluate[1]: pass_at_5 needs 5 samples" in result.stderr
    result = inside("run", code_study(tmp_path, llama, task={"columns": {}}), cwd=tmp_path)
    assert "task.metrics[0]: pass_at_1 runs the tests of every test item" in result.stderr


def tried(request, answers, further=None):
    spec, splits = request.specs[0], request.splits
    outcomes = [Outcome(example.id, "", example.answer, output=answers) for example in splits.test]
    done = []
    found = checked.tried(spec, splits, outcomes, further or [()] * len(outcomes), done.append)
    return found, done


def test_a_program_is_run_once_however_often_it_was_written(tmp_path, llama):
    further = [(Answer("a", 1, True), Answer("b", 1, True))] * 6
    found, done = tried(read_request(code_study(tmp_path, llama, allow_unsafe_code=True)), "a", further)
    assert all([trial.output for trial in item.trials] == ["a", "a", "b"] for item in found)
    assert {len({trial.passed for trial in item.trials}) for item in found} == {1}
    assert 0 < sum(item.trials[0].passed for item in found) < 6
    assert done == [*range(1, 5)]  # two programs with tests that pass, two with others


@pytest.mark.parametrize("sandbox", [True, False])
def test_a_score_says_how_programs_were_held(tmp_path, llama, monkeypatch, sandbox):
    request = read_request(code_study(tmp_path, llama, allow_unsafe_code=True))
    if not sandbox:
        monkeypatch.setattr(confined, "available", lambda: "this is a test")
    elif available():
        pytest.skip("no sandbox here")
    spec = request.specs[0]
    folder = RunFolder(tmp_path / "run")
    (tmp_path / "run" / "examples").mkdir(parents=True)
    value = score(spec, tried(request, "a")[0], folder, "programs")["pass_at_1"]
    assert value.signature == confinement(sandbox)
    lines = [json.loads(line) for line in folder.examples("pass_at_1").read_text().splitlines()]
    assert value.value == sum(line["samples"][0]["passed"] for line in lines) / 6
    assert {line["samples"][0]["reason"] for line in lines} == {"passed", "AssertionError"}
    if not sandbox:
        strict = spec.model_copy(update={"allow_unsafe_code": False})
        with pytest.raises(FairtuneError, match="no sandbox"):
            confined.is_confined(strict)


def test_seeds_are_an_item_s_own(tmp_path, llama):
    spec = read_request(code_study(tmp_path, llama, allow_unsafe_code=True)).specs[0]
    items = tiny.encoded(3)
    assert checked.seeds(spec, items, 0) == checked.seeds(spec, items[::-1], 0)[::-1]
    assert len({*checked.seeds(spec, items, 0), *checked.seeds(spec, items, 1)}) == 6


def test_limits_are_read_as_amounts():
    told = {"time": "2min", "memory": "1GiB", "file_size": "1MB", "processes": 4, "samples": 20}
    code = Task(name="a", train="b", code=told).code
    assert (code.time, code.memory, code.file_size) == (120.0, 2**30, 10**6)
    with pytest.raises(ValueError, match="memory"):
        Task(name="a", train="b", code={"memory": "1MiB"})
