"""Benchmarks in a study, from its file to its report."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from fairtune.cli.scoring import Watched
from fairtune.execute.progress import Progress
from tests import tiny
from tests.cli.command import inside, records, study

CHOICE = {
    "task": "which",
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": {"test": "which.jsonl", "dev": "dev.jsonl"}},
    "test_split": "test",
    "fewshot_split": "dev",
    "output_type": "multiple_choice",
    "doc_to_text": "Question: {{question}}\nAnswer:",
    "doc_to_choice": "choices",
    "doc_to_target": "label",
    "metric_list": [{"metric": name, "aggregation": "mean", "higher_is_better": True} for name in ("acc", "acc_norm")],
    "metadata": {"version": 3},
}
WRITTEN = {
    "task": "spell",
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": {"test": "spell.jsonl"}},
    "test_split": "test",
    "output_type": "generate_until",
    "doc_to_text": "{{prompt}}",
    "doc_to_target": "{{completion}}",
    "generation_kwargs": {"until": ["\n"], "max_gen_toks": 8},
    "filter_list": [
        {
            "name": "word",
            "filter": [{"function": "regex", "regex_pattern": "([a-z]+)"}, {"function": "take_first"}],
        }
    ],
    "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    "metadata": {"version": 1.0},
}


NO_CHOICE = {"fewshot_split": None, "doc_to_choice": None}


def questions(count: int, start: int = 0) -> list[dict[str, Any]]:
    return [
        {"question": f"{number} uno dos", "choices": ["tres", "cuatro ab", "cinco"], "label": number % 3}
        for number in range(start, start + count)
    ]


def task_file(folder: Path, config: dict[str, Any], name: str | None = None) -> str:
    """A task of lm-eval whose data lie beside it."""
    paths = config.get("dataset_kwargs", {}).get("data_files", {})
    where = {"data_files": {split: str(folder / file) for split, file in paths.items()}}
    path = folder / f"{name or config['task']}.yaml"
    path.write_text(yaml.safe_dump({**config, **({"dataset_kwargs": where} if paths else {})}), encoding="utf-8")
    return f"./{path.name}"


@pytest.fixture
def tasks(tmp_path: Path) -> dict[str, str]:
    tiny.write_jsonl(tmp_path / "which.jsonl", questions(12))
    tiny.write_jsonl(tmp_path / "dev.jsonl", questions(4, 100))
    tiny.write_jsonl(tmp_path / "spell.jsonl", tiny.rows(9))
    return {"which": task_file(tmp_path, CHOICE), "spell": task_file(tmp_path, WRITTEN)}


def test_benchmarks_are_scored_reported_and_compared_with_the_base(tmp_path, llama, tasks):
    asked = [
        "perplexity",
        {"benchmark": tasks["which"], "limit": 6, "num_fewshot": 2},
        {"benchmark": tasks["spell"], "name": "spelling", "chat_template": True},
    ]
    path = study(tmp_path, llama, evaluate=asked, methods=["base", {"lora": {"rank": 2}}])
    run = inside("run", path, cwd=tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr
    found = records(tmp_path)
    names = ["perplexity", "which.acc", "which.acc_norm", "spelling.exact_match.word"]
    for record in found.values():
        assert list(record["metrics"]) == names
        assert record["metrics"]["which.acc"]["n"] == 6
        assert record["metrics"]["which.acc"]["interval"] == "Wilson score interval"
        assert {note["name"]: note["requests"] for note in record["benchmarks"]} == {"which": 18, "spelling": 9}
        folder = tmp_path / "runs" / "small" / record["run_id"] / "examples"
        lines = [json.loads(line) for line in (folder / "which.acc.jsonl").read_text().splitlines()]
        assert [line["scores"]["value"] for line in lines] == [line["output"] == line["reference"] for line in lines]
        assert sum(line["scores"]["value"] for line in lines) / 6 == record["metrics"]["which.acc"]["value"]
    report = json.loads(inside("report", path, "--format", "json", cwd=tmp_path).stdout)
    compared = {each["metric"]: each["n"] for each in report["comparisons"]}
    assert {name: compared[name] for name in names[1:]} == dict(zip(names[1:], (6, 6, 9), strict=True))


def test_what_the_same_weights_answered_is_not_asked_again(tmp_path, llama, tasks):
    notes = []
    for name, others in (("first", []), ("second", ["perplexity"])):
        asked = [*others, {"benchmark": tasks["which"]}]
        path = study(tmp_path, llama, name=name, evaluate=asked, methods={"lora": {"rank": 2}})
        assert inside("run", path, cwd=tmp_path).returncode == 0
        notes += [record["benchmarks"][0] for record in records(tmp_path, name).values()]
    # The same recipe and seed train the same adapter.
    assert [note["cached"] for note in notes] == [False, True]
    assert notes[0]["seconds"] == notes[1]["seconds"] > 0
    assert "(seed 0) had answered which (" in inside("report", path, "--format", "md", cwd=tmp_path).stdout


FAILS = """
def results(doc, answers):
    raise RuntimeError("this item cannot be scored")
"""


def test_what_is_scored_before_a_benchmark_fails_is_kept(tmp_path, llama, tasks):
    (tmp_path / "own.py").write_text(FAILS)
    broken = task_file(tmp_path, {**CHOICE, "task": "broken"})
    with (tmp_path / broken).open("a") as file:
        file.write("process_results: !function own.results\n")
    asked = ["perplexity", "exact_match", {"benchmark": tasks["which"], "limit": 3}, {"benchmark": broken, "limit": 3}]
    assert inside("run", study(tmp_path, llama, evaluate=asked, methods="base"), cwd=tmp_path).returncode == 1
    (record,) = records(tmp_path).values()
    assert record["error"]["message"] == "this item cannot be scored"
    assert list(record["metrics"]) == ["perplexity", "exact_match", "which.acc", "which.acc_norm"]
    assert [note["name"] for note in record["benchmarks"]] == ["which"]


def test_items_that_are_trained_on_are_counted_and_marked(tmp_path, llama, tasks):
    tiny.write_jsonl(
        tmp_path / "which.jsonl", [*questions(8), {**questions(1)[0], "question": tiny.rows(24)[0]["prompt"]}]
    )
    asked = ["perplexity", {"benchmark": tasks["which"]}]
    path = study(tmp_path, llama, evaluate=asked, methods="base", task=task_of_files(tmp_path))
    run = inside("run", path, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    (record,) = records(tmp_path).values()
    found = record["benchmarks"][0]["leakage"]
    assert (found["in_train"], found["in_validation"], found["ids"]) == (1, 0, ["which/8"])
    report = inside("report", path, "--format", "md", cwd=tmp_path).stdout
    assert "which.acc ↑ †" in report
    assert "perplexity ↓ |" in report
    assert "of 9 items of which, 1 are asked in training too, 0 in validation [1 normalised]" in report


def task_of_files(folder: Path) -> dict[str, Any]:
    for name in ("validation", "test"):
        tiny.write_jsonl(folder / f"{name}.jsonl", [{"prompt": f"{name} {each}", "completion": "uno"} for each in "ab"])
    return {"name": "rows", "train": "rows.jsonl", "validation": "validation.jsonl", "test": "test.jsonl"}


@pytest.mark.parametrize(
    ("changes", "data", "told"),
    [
        ({}, [{"question": "1", "choices": [], "label": 0}], "its first item has no answers to choose from"),
        ({}, [*questions(2), {"question": "1", "choices": ["tres", ""], "label": 0}], "item 2: an answer is empty"),
        ({}, [*questions(2), {"question": "1", "choices": [], "label": 0}], "some items have no answers"),
        ({"doc_to_text": "{{query}}"}, questions(3), "'query' is undefined"),
        ({"doc_to_choice": "options"}, questions(3), "doc_to_choice: 'options': malformed"),
        ({"test_split": "validation"}, questions(3), "no column or key 'validation'"),
        (
            {**WRITTEN, "generation_kwargs": {"until": ["x"], "num_beams": 4}, **NO_CHOICE},
            tiny.rows(3),
            "generation_kwargs num_beams: not understood; allowed: do_sample",
        ),
        ({"task": None}, questions(3), "names neither a `task` nor a `group`"),
    ],
)
def test_a_task_file_that_its_data_do_not_suit_is_refused_when_the_study_is_read(
    tmp_path, llama, tasks, changes, data, told
):
    tiny.write_jsonl(tmp_path / "which.jsonl", data)
    file = task_file(tmp_path, {**CHOICE, **changes}, "changed")
    answer = inside("run", study(tmp_path, llama, evaluate=["perplexity", {"benchmark": file}]), cwd=tmp_path)
    assert answer.returncode == 2
    assert told in answer.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"benchmark": "./none.yaml"}, "evaluate[1]: no file "),
        ({"benchmark": "./which.yaml", "limt": 3}, "evaluate[1].limt: unknown; did you mean 'limit'?"),
        ({"benchmark": "./which.yaml", "num_fewshot": -1}, "evaluate[1].num_fewshot"),
        ({"benchmark": "./which.yaml", "num_fewshot": 40}, "its items do not suit it"),
        ({"benchmark": "./which.yaml", "generation": {"temperature": 1}}, "nothing is written; leave it out"),
    ],
)
def test_a_benchmark_that_is_asked_for_wrongly_is_refused_when_the_study_is_read(tmp_path, llama, tasks, asked, told):
    answer = inside("run", study(tmp_path, llama, evaluate=["perplexity", asked]), cwd=tmp_path)
    assert answer.returncode == 2
    assert told in answer.stderr


def eval_json(*arguments: object, cwd: Path) -> dict[str, Any]:
    answer = inside("eval", *arguments, "--json", cwd=cwd)
    assert answer.returncode == 0, answer.stderr
    return dict(json.loads(answer.stdout))


def values_of(found: dict[str, Any], *metrics: str) -> list[float]:
    return [line["value"] for line in found["scores"] if line["metric"] in metrics]


def test_a_task_is_scored_without_tokens_of_its_training_part_and_the_terminal_says_how_far_it_is(tmp_path, llama):
    task = yaml.safe_load(study(tmp_path, llama).read_text())["task"]
    (tmp_path / "rows.yaml").write_text(yaml.safe_dump({**task, "metrics": ["perplexity"]}), encoding="utf-8")
    cache = tmp_path / "cache"
    assert inside("eval", llama, "--task", "rows.yaml", cwd=tmp_path, FAIRTUNE_CACHE=str(cache)).returncode == 0
    assert len(list((cache / "tokens").glob("*.arrow"))) == 1
    text = io.StringIO()
    with Watched(Console(file=text, force_terminal=True, width=100)) as watched:
        watched.tell(Progress(1, "evaluate", "cpu", 3, 7))
    assert "evaluate  3/7" in text.getvalue()


COUNTS = """
from pathlib import Path


def processed(docs):
    with Path(__file__).with_name("calls.txt").open("a") as file:
        file.write("once\\n")
    return docs
"""


def test_eval_opens_a_benchmark_once_and_its_items_are_processed_once(tmp_path, llama, tasks):
    (tmp_path / "own.py").write_text(COUNTS)
    counted = task_file(tmp_path, {**CHOICE, "task": "counted", "fewshot_split": None})
    with (tmp_path / counted).open("a") as file:
        file.write("process_docs: !function own.processed\n")
    assert len(eval_json(llama, "--task", counted, "--limit", 2, cwd=tmp_path)["scores"]) == 2
    assert (tmp_path / "calls.txt").read_text().split() == ["once"]


def test_a_model_its_adapters_and_its_runs_are_scored_without_training(tmp_path, llama, tasks):
    asked = [{"benchmark": tasks["which"], "name": "which"}]
    methods = ["base", {"lora": {"rank": 2, "learning_rate": 0.03}}, {"prompt": {"num_virtual_tokens": 2}}]
    path = study(tmp_path, llama, evaluate=["perplexity", *asked], methods=methods)
    assert inside("run", path, cwd=tmp_path).returncode == 0
    runs = {name.split()[0]: record for name, record in records(tmp_path).items()}
    (tmp_path / "rows.yaml").write_text(
        yaml.safe_dump({**yaml.safe_load(path.read_text())["task"], "metrics": ["perplexity"]}), encoding="utf-8"
    )
    adapters = [tmp_path / "runs" / "small" / runs[name]["run_id"] / "adapter" for name in ("lora", "prompt")]
    options = [option for adapter in adapters for option in ("--adapter", adapter)]
    acc, norm = "which.acc", "which.acc_norm"
    found = eval_json(llama, "--task", tasks["which"], "--task", "rows.yaml", *options, cwd=tmp_path)
    values = [(line["metric"], line["value"]) for line in found["scores"]]
    expected = [
        (name, runs[method]["metrics"][own]["value"])
        for method in ("base", "lora", "prompt")
        for name, own in ((acc, acc), (norm, norm), ("rows.perplexity", "perplexity"))
    ]
    assert [name for name, _ in values] == [name for name, _ in expected]
    assert [value for _, value in values] == pytest.approx([value for _, value in expected], rel=1e-4)
    assert len({value for name, value in values if name == "rows.perplexity"}) == 3
    run = eval_json(runs["lora"]["run_id"][:8], "--task", "rows.yaml", "--task", tasks["which"], cwd=tmp_path)
    assert {line["metric"]: line["value"] for line in run["scores"]}["rows.perplexity"] == pytest.approx(
        runs["lora"]["metrics"]["perplexity"]["value"], rel=1e-6
    )
    assert [note["cached"] for note in run["benchmarks"]] == [True]  # the run asked the same of the same weights
    adapter = tmp_path / "lora"
    shutil.copytree(adapters[0], adapter)
    alone = eval_json("./lora", "--task", tasks["which"], cwd=tmp_path)
    assert [line["value"] for line in alone["scores"]] == values_of(found, acc, norm)[2:4]
    described = json.loads((adapter / "adapter_config.json").read_text())
    for base, told in (
        (None, "names no base_model_name_or_path"),
        ("./gone", "its base './gone' cannot be had: model folder"),
    ):
        (adapter / "adapter_config.json").write_text(json.dumps({**described, "base_model_name_or_path": base}))
        wrong = inside("eval", "./lora", "--task", tasks["which"], cwd=tmp_path)
        assert wrong.returncode == 2
        assert told in wrong.stderr
        assert "write its base for MODEL: fairtune eval MODEL --adapter lora --task ./which.yaml" in wrong.stderr
    table = inside("eval", llama, "--task", tasks["which"], "--limit", 4, cwd=tmp_path).stdout
    assert "which.acc_norm" in table
    assert "share of items" in table


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--task", "./none.yaml"], "./none.yaml"),
        (["--task", "./which.yaml", "--precision", "fp7"], "--precision fp7: unknown; allowed: bf16,"),
        (["--task", "./which.yaml", "--adapter", "."], "no adapter in PEFT's layout"),
        (["--task", "cldr-spanish", "--num-fewshot", "2"], "--num-fewshot: is for benchmarks"),
        ([], "Missing option '--task'"),
    ],
)
def test_a_wrong_request_of_eval_is_told_in_a_sentence(tmp_path, llama, tasks, arguments, told):
    answer = inside("eval", llama, *arguments, cwd=tmp_path)
    assert answer.returncode == 2
    assert told in answer.stderr


def test_an_unknown_benchmark_is_told_with_its_nearest_names(tmp_path, llama, lm_eval_names):
    asked = ["perplexity", {"benchmark": "helaswag"}, {"benchmark": "gsm8kk", "limit": 3}]
    answer = inside("run", study(tmp_path, llama, evaluate=asked), cwd=tmp_path)
    assert answer.returncode == 2
    assert "evaluate[1]: unknown benchmark 'helaswag'; did you mean 'hellaswag'" in answer.stderr
    assert "evaluate[2]: unknown benchmark 'gsm8kk'; did you mean 'gsm8k'" in answer.stderr


def test_data_that_a_hub_has_and_this_machine_has_not_are_told_when_the_study_is_read(
    tmp_path, llama, lm_eval_names, monkeypatch
):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    asked = ["perplexity", {"benchmark": "hellaswag", "limit": 3}]
    answer = inside("run", study(tmp_path, llama, evaluate=asked), cwd=tmp_path)
    assert answer.returncode == 2
    assert (
        "benchmark hellaswag: its data set cannot be had: Couldn't reach 'Rowan/hellaswag' on the Hub" in answer.stderr
    )
    assert "a task file with data files of your own works without a network" in answer.stderr


ROOT = Path(__file__).parents[2]
FEW = {"limit": 3, "generation": {"max_new_tokens": 16}}


def test_the_benchmarks_that_ship_run_on_real_items_to_their_table(tmp_path, gpt2, shared_data, lm_eval_names):
    files = {name: str(ROOT / "studies" / "benchmarks" / f"{name}.yaml") for name in ("hellaswag", "mmlu", "gsm8k")}
    asked = [{"benchmark": file, "limit": 3} for file in files.values()]
    asked[1]["num_fewshot"], asked[2] = 5, {**asked[2], "num_fewshot": 1, **FEW}
    path = study(tmp_path, gpt2, evaluate=asked, methods="base")
    run = inside("run", path, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    for name in ("hellaswag.acc_norm", "mmlu_four.acc", "gsm8k.exact_match.flexible-extract"):
        assert name in run.stdout.replace("\n", "")
    (base,) = records(tmp_path).values()
    assert base["metrics"]["mmlu_four.acc"]["n"] == 12
    cut = {note["name"]: note["cut_requests"] for note in base["benchmarks"]}
    assert cut["mmlu_four"] == 48  # five examples are longer than the 256 tokens that this model reads
    assert "were longer than" in run.stdout
    assert "docs/benchmarks.md" in inside("run", path, cwd=tmp_path, FAIRTUNE_BENCHMARK_DATA="").stderr


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"benchmark": "./spell.yaml", "chat_template": True}, "chat_template: the model has none"),
        (
            {"benchmark": "./spell.yaml", "generation": {"max_new_tokens": 256}},
            "answers may have 256 tokens, and the model reads 256",
        ),
    ],
)
def test_a_model_that_a_benchmark_does_not_suit_is_told_before_it_is_trained(tmp_path, gpt2, tasks, asked, told):
    path = study(tmp_path, gpt2, evaluate=[asked], methods={"lora": {"rank": 2}})
    assert inside("run", path, cwd=tmp_path).returncode == 1
    (record,) = records(tmp_path).values()
    assert told in record["error"]["message"]
    assert record["error"]["phase"] == "load"
