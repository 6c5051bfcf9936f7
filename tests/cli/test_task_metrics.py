"""A task's own metrics through the command line: labels, text, and what does not fit."""

import json
import math
import re

import pytest

from fairtune.execute import read_request
from tests import tiny
from tests.cli.command import inside, records, study

LABELS = ["doubt", "fear", "smears"]


def labelled(folder, count=24, most=1, names=LABELS):
    rows = [{"text": f"text {n} of many", "labels": names[n % 3 : n % 3 + 1 + n % most]} for n in range(count)]
    tiny.write_jsonl(folder / "labelled.jsonl", rows)


def task(**keys):
    return {"name": "t", "train": "labelled.jsonl", "validation": 3, "test": 6, "max_new_tokens": 6, **keys}


def test_labels_are_chosen_by_likelihood_and_each_has_a_line_in_the_report(tmp_path, llama):
    labelled(tmp_path)
    asked = ["accuracy", "f1_micro", "f1_macro", "unparsable_labels"]
    about = task(predict="score", labels=[*LABELS, "none"])
    path = study(tmp_path, llama, task=about, evaluate=asked, methods=["base", "bitfit"])
    result = inside("run", path, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    record = records(tmp_path)["base 0"]
    assert record["spec"]["task"]["labels"] == [*LABELS, "none"]
    assert record["metrics"]["unparsable_labels"]["value"] == 0
    # With one label a row, and always one chosen, micro-F1 is accuracy.
    assert record["metrics"]["f1_micro"]["value"] == pytest.approx(record["metrics"]["accuracy"]["value"])
    table = record["metrics"]["f1_macro"]["per_label"]
    assert list(table) == [*LABELS, "none"]
    assert sum(scores["support"] for scores in table.values()) == 6
    mean = sum(scores["f1"] for scores in table.values()) / 4
    assert record["metrics"]["f1_macro"]["value"] == pytest.approx(mean)
    assert record["metrics"]["accuracy"]["per_label"] is None
    assert "generate" not in record["phases"]
    lines = next((tmp_path / "runs" / "small").glob("*/examples/f1_macro.jsonl")).read_text().splitlines()
    for line in map(json.loads, lines):
        assert line["output"] in [*LABELS, "none"]
        assert 1 <= len(line["scores"]) <= 2  # what is 0 is left out
        assert line["stopped"]
    report = inside("report", path, "--format", "md", cwd=tmp_path).stdout
    assert "## Labels" in report
    assert report.count("| label | precision | recall | F1 | items |") == 2
    assert report.count("| Δ") == 0
    assert "damaged" not in report


def test_text_is_scored_by_word_and_byte_over_a_stride(tmp_path):
    text = tiny.text(1200)
    (tmp_path / "input.txt").write_text(text)
    shape = {"architecture": "gpt2", "layers": 1, "heads": 2, "hidden": 16, "context": 32}
    metrics = ["cross_entropy", "token_accuracy", "word_perplexity", "byte_perplexity", "bits_per_byte"]
    found = {}
    for stride in (None, 8):
        keys = {"stride": stride} if stride else {}
        about = {"name": "t", "train": "input.txt", "test": 0.3, "samples": {"count": 0}, "metrics": metrics, **keys}
        path = study(tmp_path, "x", models=[{"scratch": shape}], methods=["base"], task=about, name=f"s{stride}")
        result = inside("run", path, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        found[stride] = records(tmp_path, f"s{stride}")["base 0"]["metrics"]
    part = text[int(len(text) * 0.7) :]
    for stride, values in found.items():
        # One token a character, all of one byte: nats by byte are nats by token, whatever the windows.
        nats = values["cross_entropy"]["value"]
        assert values["byte_perplexity"]["value"] == pytest.approx(math.exp(nats))
        assert values["bits_per_byte"]["value"] == pytest.approx(nats / math.log(2))
        stated = f"window:32|stride:{stride or 32}"  # the model's context, where the window is longer
        assert {value["signature"] for value in values.values()} == {stated}
        bytes_a_word = (len(part.encode()) - 1) / len(part.split())
        assert values["word_perplexity"]["value"] == pytest.approx(math.exp(nats * bytes_a_word), rel=0.02 * nats)
        assert values["cross_entropy"]["n"] == 1 + math.ceil((len(part) - 33) / (stride or 32))
    assert found[8]["cross_entropy"]["value"] != found[None]["cross_entropy"]["value"]


def refused(path, folder, *words):
    result = inside("run", path, cwd=folder)
    assert result.returncode == 2, result.stdout
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr, result.stderr


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (["f1_macro"], ["evaluate[0]: f1_macro compares labels", "possible: perplexity,"]),
        (["perplexity", "bits_per_byte"], ["evaluate[1]: bits_per_byte counts the text of documents"]),
        (["number_match"], ["evaluate[0]: number_match: test item", "rows.jsonl, line", "is no number", "(4 more"]),
        (["json_fields"], ["evaluate[0]: json_fields: test item", "its reference is no JSON"]),
    ],
)
def test_a_metric_that_does_not_fit_the_task_is_refused_before_anything_runs(tmp_path, llama, asked, words):
    refused(study(tmp_path, llama, evaluate=asked), tmp_path, *words)
    assert not (tmp_path / "runs").exists()


def test_sets_of_labels_are_chosen_by_a_threshold_that_the_record_states(tmp_path, llama):
    labelled(tmp_path, most=2)
    about = task(predict="score", metrics=["f1_micro", "exact_match", "perplexity"])
    path = study(tmp_path, llama, task=about, methods=["base"])
    result = inside("run", path, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    found = records(tmp_path)["base 0"]["metrics"]
    assert re.fullmatch(r"threshold:-?[0-9.e-]+\|validation:3", found["f1_micro"]["signature"])
    assert found["exact_match"]["signature"] == found["f1_micro"]["signature"]
    assert found["perplexity"]["signature"] is None


def test_rows_with_choices_of_their_own_are_scored_by_the_likeliest(tmp_path, llama):
    rows = [{"question": f"question {n}", "choices": LABELS[: 2 + n % 2], "answer": n % 2} for n in range(24)]
    tiny.write_jsonl(tmp_path / "labelled.jsonl", rows)
    about = task(predict="score", metrics=["accuracy", "exact_match"])
    path = study(tmp_path, llama, task=about, methods=["base"])
    result = inside("run", path, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    found = records(tmp_path)["base 0"]["metrics"]
    assert found["accuracy"]["value"] == found["exact_match"]["value"]
    assert found["accuracy"]["signature"] is None
    lines = next((tmp_path / "runs" / "small").glob("*/examples/accuracy.jsonl")).read_text().splitlines()
    assert {json.loads(line)["output"] for line in lines} <= set(LABELS)
    rows[0]["choices"] = ["doubt", "fear " * 60]
    tiny.write_jsonl(tmp_path / "labelled.jsonl", rows)
    (tmp_path / "task.yaml").write_text(json.dumps({**about, "test": "labelled.jsonl"}))
    told = inside("eval", llama, "--task", tmp_path / "task.yaml", cwd=tmp_path)
    assert told.returncode != 0
    assert "its prompt and the answer 'fear fear" in told.stderr
    # A run says it before it trains.
    path = study(tmp_path, llama, task={**about, "test": "labelled.jsonl"}, methods=["bitfit"], allow_leakage=True)
    assert inside("run", path, cwd=tmp_path).returncode == 1
    failed = records(tmp_path)["bitfit 0"]
    assert (failed["status"], failed["error"]["phase"], list(failed["phases"])) == ("failed", "load", ["load"])
    assert "its prompt and the answer 'fear fear" in failed["error"]["message"]


def test_choosing_needs_something_to_choose_from(tmp_path, llama):
    tiny.write_jsonl(tmp_path / "labelled.jsonl", tiny.rows(24))
    path = study(tmp_path, llama, task=task(predict="score", metrics=["accuracy"]))
    refused(path, tmp_path, "task.predict: score chooses among labels", "the task has neither", "accuracy")
    path = study(tmp_path, llama, task=task(predict="score", labels=LABELS, metrics=["perplexity"]))
    refused(path, tmp_path, "task.predict: score chooses among labels, and row", "write generate")
    path = study(tmp_path, llama, task=task(metrics=["bleu"], stride=4))
    tiny.write_jsonl(tmp_path / "labelled.jsonl", tiny.rows(24))
    refused(path, tmp_path, "task.stride: a stride is one of windows of plain text")


def test_the_label_set_names_a_run_only_where_it_changes_a_score(tmp_path, llama):
    labelled(tmp_path)
    ids = {}
    for metric in ("perplexity", "f1_macro"):
        for labels in (LABELS, [*LABELS, "other"]):
            about = task(labels=labels, metrics=[metric])
            (run,) = read_request(study(tmp_path, llama, task=about, methods=["base"])).specs
            assert run.task.labels == tuple(labels)
            ids[metric, len(labels)] = run.run_id
    assert ids["perplexity", 3] == ids["perplexity", 4]
    assert ids["f1_macro", 3] != ids["f1_macro", 4]
