"""Benchmarks below the command line: their numbers, what is kept, and lm-eval's own command with our model."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import random
import subprocess
import sys

import numpy as np
import pytest

from fairtune.data import Examples, Message, Splits, make_example
from fairtune.evaluate.harness.asked import items_of
from fairtune.evaluate.metrics.benchmark import OTHER, SUMS, BenchmarkMetric
from fairtune.execute.benchmarks import BenchmarkRunner, benchmark_value, open_any, weights_key
from fairtune.execute.leaks import LearnedFrom
from fairtune.execute.phases import PhaseMeter
from fairtune.execute.progress import ProgressCall
from fairtune.execute.subject import Asked, subject_of
from fairtune.records import MetricValue
from fairtune.study import BenchmarkRef, BenchmarkScore
from tests import tiny
from tests.cli.test_benchmarks import CHOICE, WRITTEN, questions, task_file
from tests.unit.test_study import GOOD, runs_of


@pytest.fixture
def folder(tmp_path):
    tiny.write_jsonl(tmp_path / "which.jsonl", questions(12))
    tiny.write_jsonl(tmp_path / "dev.jsonl", questions(6, 100))
    tiny.write_jsonl(tmp_path / "spell.jsonl", tiny.rows(5))
    task_file(tmp_path, CHOICE)
    task_file(tmp_path, WRITTEN)
    return tmp_path


def scored_on(model, ref, folder, weights="weights"):
    (scored,) = BenchmarkRunner([open_any(ref, folder)]).run(model, weights, PhaseMeter(ProgressCall(lambda _: None)))
    return scored


class Counted:
    """A model, with how often its network was called."""

    def __init__(self, model):
        self.model, self.calls = model, 0
        model.network.register_forward_pre_hook(self._count)

    def _count(self, *_):
        self.calls += 1

    def run(self, ref, folder, weights="weights"):
        before = self.calls
        scored = scored_on(self.model, ref, folder, weights)
        assert scored.cached == (self.calls == before)
        return scored


def test_a_result_is_kept_until_anything_changes_that_could_change_it(folder, llama, monkeypatch, tmp_path):
    monkeypatch.setenv("FAIRTUNE_CACHE", str(tmp_path / "cache"))
    counted, ref = Counted(tiny.language_model(llama)), BenchmarkRef(benchmark="./which.yaml", num_fewshot=2, limit=4)
    written = BenchmarkRef(benchmark="./spell.yaml")
    first = counted.run(ref, folder)
    counted.run(written, folder)
    assert counted.run(ref, folder).cached
    again = counted.run(ref, folder)
    assert again.values() == first.values()
    assert again.note().seconds == first.note().seconds > 0
    changes = [{"num_fewshot": 1}, {"fewshot_seed": 5}, {"chat_template": True}, {"limit": 5}, {"sample": "first"}]
    for change in changes:
        assert not counted.run(ref.model_copy(update=change), folder).cached, change
    shorter = BenchmarkRef.model_validate({**written.model_dump(), "generation": {"max_new_tokens": 3}})
    assert not counted.run(shorter, folder).cached
    assert not counted.run(ref, folder, "other weights").cached
    assert not Counted(tiny.language_model(llama, "bf16")).run(ref, folder).cached
    counted.model.tokenizer.chat_template = f"{tiny.CHAT_TEMPLATE} "
    assert not counted.run(ref, folder).cached
    counted.model.tokenizer.chat_template = tiny.CHAT_TEMPLATE
    assert counted.run(ref, folder).cached
    task_file(folder, {**CHOICE, "doc_to_text": "Q: {{question}}\nA:"})
    assert not counted.run(ref, folder).cached
    task_file(folder, {**CHOICE, "metadata": {"version": 4}})
    assert not counted.run(ref, folder).cached
    task_file(folder, CHOICE)
    assert counted.run(ref, folder).cached
    tiny.write_jsonl(folder / "dev.jsonl", questions(6, 200))
    assert not counted.run(ref, folder).cached


def test_weights_are_known_by_the_content_of_what_was_trained(tmp_path, llama):
    subject = subject_of(Asked(str(llama), ()), tmp_path / "nowhere")
    (tmp_path / "adapter").mkdir()
    weights = tmp_path / "adapter" / "adapter_model.safetensors"
    keys = {subject.key(None)}
    for content in (b"one", b"two"):
        weights.write_bytes(content)
        keys.add(subject.key(tmp_path / "adapter"))
    assert len(keys) == 3


def test_the_untouched_model_of_a_study_and_that_of_eval_have_one_key(tmp_path, llama):
    spec = runs_of(tmp_path, GOOD)[0]
    subject = subject_of(Asked(str(llama), ()), tmp_path / "nowhere")
    assert not spec.method.trains
    assert subject.key(None) == weights_key(subject.model, spec.method, 7, None)


CODE = """
from helpers import ENDING

LIMIT = 3


def _ending(text):
    return text + ENDING


def question(doc):
    return _ending(doc["question"])
"""


@pytest.mark.parametrize("changed", [CODE.replace("LIMIT = 3", "LIMIT = 4"), CODE.replace("text + E", "text + 2 * E")])
def test_a_changed_helper_or_constant_of_the_users_code_is_another_benchmark(folder, monkeypatch, changed):
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "helpers", raising=False)
    plain = open_any(BenchmarkRef(benchmark="./spell.yaml"), folder).choice.fingerprint
    (folder / "helpers.py").write_text("ENDING = '?'\n")
    (folder / "own.py").write_text(CODE)
    with (folder / task_file(folder, {**CHOICE, "doc_to_text": None}, "coded")).open("a") as file:
        file.write("doc_to_text: !function own.question\n")
    ref = BenchmarkRef(benchmark="./coded.yaml", limit=3)
    found = [open_any(ref, folder).choice.fingerprint for _ in range(2)]
    (folder / "own.py").write_text(changed)
    found.append(open_any(ref, folder).choice.fingerprint)
    (folder / "own.py").write_text(CODE)
    (folder / "helpers.py").write_text("ENDING = '??'\n")
    found.append(open_any(ref, folder).choice.fingerprint)
    assert found[0] == found[1]
    assert len(set(found)) == 3
    assert open_any(BenchmarkRef(benchmark="./spell.yaml"), folder).choice.fingerprint != plain  # it may reach them too


def asks(question, answer="tres"):
    return make_example((Message("user", question), Message("assistant", answer)))


def test_items_that_are_trained_on_are_found_however_they_are_asked(folder):
    draw = random.Random(3)
    long = [" ".join(f"w{draw.randrange(999)}" for _ in range(18)) for _ in range(9)]
    rows = [{"question": text, "choices": ["tres", "cuatro"], "label": 0} for text in [*long, "Quo vadis"]]
    tiny.write_jsonl(folder / "which.jsonl", rows)
    train = [
        asks(f"Question: {long[0]}\nAnswer:"),
        asks(f"{long[1].upper()}?", "otherwise"),
        asks(f"{long[2]} changed"),
        asks("What did you read?", f"I read this: {long[3]}, and nothing else."),
        asks("quo vadis?"),
        asks("Quo vadis, and why?"),
    ]
    validation = [asks(long[4], "cinco"), asks(long[0])]
    opened = open_any(BenchmarkRef(benchmark="./which.yaml", num_fewshot=2), folder)

    def leaks(train, validation, items=lambda: items_of(opened)):
        splits = Splits(*map(Examples.of, (train, validation, [asks("else")])))
        return LearnedFrom(splits, splits.fingerprint()).leaks_of("which", opened.choice.fingerprint, items)

    found = leaks(train, validation)
    assert (found.in_train, found.in_validation, found.reason) == (5, 2, None)
    assert set(found.ids) == {"which/0", "which/1", "which/2", "which/3", "which/4", "which/9"}
    assert found.kinds == {"exact": 1, "normalised": 3, "near": 2}
    assert leaks(train, validation, items=lambda: pytest.fail("it is remembered")) == found
    document = make_example((Message("assistant", f"{tiny.text(900)} {long[5]} {tiny.text(900, 1)} Quo vadis"),))
    assert leaks([document], []).ids == ("which/5",)  # two words stand in a document by chance
    assert leaks([asks("nothing of it")], []).ids == ()


def test_texts_that_are_scored_by_themselves_are_sought_in_passages(folder):
    rolling = {
        "task": "rolled",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": "texts.jsonl"}},
        "test_split": "test",
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "{{text}}",
        "metric_list": [{"metric": "word_perplexity", "aggregation": "weighted_perplexity", "higher_is_better": False}],
    }
    draw = random.Random(4)
    texts = [" ".join(f"w{draw.randrange(9999)}" for _ in range(40)) for _ in range(3)]
    tiny.write_jsonl(folder / "texts.jsonl", [{"text": text} for text in texts])
    task_file(folder, rolling)
    opened = open_any(BenchmarkRef(benchmark="./rolled.yaml"), folder)
    document = make_example((Message("assistant", f"before {' '.join(texts[1].split()[5:])} after"),))
    splits = Splits(*map(Examples.of, ([document], [], [document])))
    found = LearnedFrom(splits, "data").leaks_of("rolled", opened.choice.fingerprint, lambda: items_of(opened))
    assert (found.ids, found.in_train) == (("rolled/1",), 1)


def test_the_sample_is_of_content_not_of_order(folder):
    ref = BenchmarkRef(benchmark="./which.yaml", limit=5)

    def chosen(ref):
        opened = open_any(ref, folder)
        (task,) = opened.tasks.values()
        return {request.doc["question"] for request in task.instances}

    before, first = chosen(ref), chosen(ref.model_copy(update={"sample": "first"}))
    assert first == {f"{number} uno dos" for number in range(5)}
    shuffled = questions(12)
    random.Random(0).shuffle(shuffled)
    tiny.write_jsonl(folder / "which.jsonl", shuffled)
    assert chosen(ref) == before != first


@pytest.mark.parametrize("name", sorted(SUMS))
def test_numbers_made_of_sums_are_those_of_lm_eval(name):
    from lm_eval.api.registry import AGGREGATION_REGISTRY

    draw = random.Random(1)
    weighted = name in {"weighted_perplexity", "bits_per_byte"}
    items = [(-draw.random() * 9, draw.randint(1, 9)) if weighted else -draw.random() for _ in range(7)]
    items = [*items, math.nan] if name == "nanmean" else items
    metric = BenchmarkMetric(
        BenchmarkScore(name="a.b", metric="b", filter="none", aggregation=name, higher_is_better=True)
    )
    sums = np.array([metric.numbers(item) for item in items]).sum(axis=0)
    assert metric.aggregate(sums) == pytest.approx(AGGREGATION_REGISTRY[name](items))
    assert math.isnan(metric.aggregate(np.zeros(2)))  # without a warning, which would be an error here


def test_a_group_weighs_its_tasks_as_it_says(folder, llama):
    tiny.write_jsonl(folder / "few.jsonl", [{**row, "label": 0} for row in questions(3, 50)])
    few = {**CHOICE, "task": "few", "dataset_kwargs": {"data_files": {"test": "few.jsonl", "dev": "dev.jsonl"}}}
    task_file(folder, few)
    model = tiny.language_model(llama)
    for by_size in (True, False):
        parts = [json.loads(json.dumps(each)) for each in (few, CHOICE)]
        for part in parts:
            files = part["dataset_kwargs"]["data_files"]
            part["dataset_kwargs"]["data_files"] = {split: str(folder / file) for split, file in files.items()}
        group = {
            "group": f"both_{by_size}",
            "task": parts,
            "aggregate_metric_list": [{"metric": "acc", "weight_by_size": by_size}],
        }
        task_file(folder, group, f"both_{by_size}")
        ref = BenchmarkRef(benchmark=f"./both_{by_size}.yaml")
        scored = scored_on(model, ref, folder, f"weights {by_size}")
        (value,) = scored.values().values()
        (number,) = scored.result.numbers
        hits = {}
        for item in number.items:
            hits.setdefault(item.cluster, []).append(item.scores[0] / item.scores[1])
        means = [sum(each) / len(each) for each in hits.values()]
        pooled = sum(sum(each) for each in hits.values()) / 15
        assert value.n == 15
        assert value.value == pytest.approx(pooled if by_size else sum(means) / 2)
        assert value.low < value.value < value.high


def test_a_number_that_is_no_function_of_sums_has_a_value_and_says_why_it_has_no_interval(folder, llama):
    metrics = [{"metric": "f1", "aggregation": "f1", "higher_is_better": True}]
    binary = [{**row, "choices": row["choices"][:2], "label": index % 2} for index, row in enumerate(questions(12))]
    tiny.write_jsonl(folder / "which.jsonl", binary)
    task_file(folder, {**CHOICE, "task": "scored", "metric_list": metrics}, "scored")
    ref = BenchmarkRef(benchmark="./scored.yaml")
    scored = scored_on(tiny.language_model(llama), ref, folder)
    value = scored.values()["scored.f1"]
    assert scored.choice.scores[0].aggregation == OTHER
    assert value.value is not None
    assert (value.low, value.interval) == (None, "none")
    assert "no function of sums" in value.reason


def test_a_number_that_its_items_do_not_give_has_no_interval_and_says_so(folder, llama):
    scored = scored_on(tiny.language_model(llama), BenchmarkRef(benchmark="./which.yaml"), folder)
    metric, number = BenchmarkMetric(scored.choice.scores[0]), scored.result.numbers[0]
    value = benchmark_value(metric, dataclasses.replace(number, value=2.5), scored.choice)
    assert isinstance(value, MetricValue)
    assert (value.value, value.low, value.high, value.interval) == (2.5, None, None, "none")
    assert value.reason.startswith("lm-eval has 2.5 for which.acc, and its items give 0.")


def test_lm_eval_makes_our_model_by_its_name_with_the_same_numbers(folder, llama):
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    import fairtune.evaluate.harness.opening  # noqa: F401 - what `python -m fairtune.evaluate.harness` does first

    adapter = folder / "adapter"
    tiny.tuned(llama, "lora", {"rank": 2}).save(adapter)
    for adapted in ("", f",adapter={adapter}"):
        theirs = simple_evaluate(
            model="fairtune",
            model_args=f"pretrained={llama},dtype=float32{adapted}",
            tasks=[str(folder / "which.yaml")],
            task_manager=TaskManager(include_defaults=False),
            limit=6,
            device="cuda:0",
            bootstrap_iters=0,
        )["results"]["which"]
        ref = BenchmarkRef(benchmark="./which.yaml", sample="first", limit=6)
        scored = scored_on(tiny.language_model(llama), ref, folder, "same")
        ours = {f"{score.metric},none": scored.values()[score.name].value for score in scored.choice.scores}
        assert {name: theirs[name] for name in ours} == pytest.approx(ours)


def test_an_adapter_leaves_the_model_as_it_was(tmp_path, llama):
    import torch

    from fairtune.methods.folder import wearing

    tokens = torch.arange(3, 40)[None]
    model = tiny.language_model(llama)
    before = model.network(tokens).logits
    for method, options in (("lora", {"rank": 2}), ("prompt", {"num_virtual_tokens": 2}), ("ia3", {})):
        tuned = tiny.tuned(llama, method, options)
        for weight in (weight for weight in tuned.model.network.parameters() if weight.requires_grad):
            torch.nn.init.normal_(weight)
        tuned.save(tmp_path / method)
        with wearing(model, tmp_path / method) as worn:
            assert worn.model.virtual_tokens == options.get("num_virtual_tokens", 0)
            assert not torch.equal(worn.model.network(tokens).logits, before)
        assert torch.equal(model.network(tokens).logits, before)
        assert model.virtual_tokens == 0


@pytest.mark.slow
def test_lm_evals_own_command_knows_our_model(folder, llama):
    arguments = ["--model", "fairtune", "--model_args", f"pretrained={llama}", "--tasks", str(folder / "which.yaml")]
    command = [sys.executable, "-m", "fairtune.evaluate.harness", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "acc_norm" in done.stdout


def test_the_command_line_and_the_report_do_without_lm_eval():
    code = (
        "import sys, fairtune.cli, fairtune.execute, fairtune.report, fairtune.study; print('lm_eval' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
