"""A model from scratch on plain text, through the real command line."""

import json
import shutil

import pytest
import yaml

from tests import tiny
from tests.cli.command import fairtune, inside, records

SHAPE = {"architecture": "gpt2", "layers": 1, "heads": 2, "hidden": 16, "context": 8, "tokenizer": "char"}


def study(folder, **changes):
    """A study of two tiny models on a text of its own; ``changes`` replace whole keys."""
    (folder / "input.txt").write_text(tiny.text(1200), encoding="utf-8")
    content = {
        "name": "small",
        "task": {
            "name": "text",
            "train": "input.txt",
            "validation": 0.05,
            "test": 0.2,
            "metrics": ["cross_entropy", "perplexity"],
            "samples": {"count": 2, "tokens": 40},
        },
        "models": [{"scratch": SHAPE}, {"scratch": {**SHAPE, "architecture": "llama"}}],
        "methods": ["base", {"full": {"learning_rate": 1e-2}}],
        "training": {"updates": 30, "batch_size": 4},
        "seeds": [0],
        "budget": {"device": "cpu"},
    }
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump({**content, **changes}), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    result = inside("run", study(folder), cwd=folder)
    assert result.returncode == 0, result.stderr
    return folder, result


def test_models_from_scratch_learn_and_are_compared_with_themselves_untrained(finished):
    folder, result = finished
    assert "cross_entropy ↓" in result.stdout
    document = json.loads(inside("report", "study.yaml", "--format", "json", cwd=folder).stdout)
    assert len(document["runs"]) == 4
    assert {(c["metric"], c["verdict"]) for c in document["comparisons"]} == {
        ("cross_entropy", "better"),
        ("perplexity", "better"),
    }
    for record in document["runs"]:
        value = record["metrics"]["cross_entropy"]
        assert value["low"] < value["value"] < value["high"]
        assert value["unit"] == "nats per supervised token"
        assert record["phases"]["generate"]["seconds"] > 0


def test_every_character_of_the_test_text_but_the_first_is_scored_once(finished):
    folder, _ = finished
    text = (folder / "input.txt").read_text()
    test = text[int(len(text) * 0.8) :]
    for record in records(folder).values():
        lines = (folder / "runs/small" / record["run_id"] / "examples/cross_entropy.jsonl").read_text().splitlines()
        items = [json.loads(line) for line in lines]
        assert "".join(item["reference"] for item in items) == test[1:]
        assert sum(item["scores"]["tokens"] for item in items) == len(test) - 1


def test_a_run_makes_the_updates_asked_for(finished):
    record = next(record for record in records(finished[0]).values() if record["spec"]["training"])
    folder = finished[0] / "runs" / "small" / record["run_id"]
    assert len((folder / "curve.jsonl").read_text().splitlines()) == 30
    assert record["spec"]["training"]["epochs"] is None


def test_samples_are_kept_and_one_of_each_run_is_in_the_report(finished):
    folder, _ = finished
    report = (folder / "runs" / "small" / "report.md").read_text()
    assert "## Samples" in report
    document = json.loads(inside("report", "study.yaml", "--format", "json", cwd=folder).stdout)
    for record in document["runs"]:
        path = folder / "runs" / "small" / record["run_id"] / "examples" / "samples.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        assert [(row["sample"], row["seed"], len(row["text"]) <= 40) for row in rows] == [(0, 0, True), (1, 0, True)]
        for line in (rows[0]["start"] + rows[0]["text"]).split("\n"):
            assert f"    {line}\n" in report


def test_lost_samples_cost_themselves_not_the_report(finished, tmp_path):
    shutil.copytree(finished[0], tmp_path / "copy")
    path = next((tmp_path / "copy" / "runs" / "small").glob("*/examples/samples.jsonl"))
    path.write_text("{")
    result = inside("report", "study.yaml", "--format", "md", cwd=tmp_path / "copy")
    assert result.returncode == 0, result.stderr
    assert f"{path.relative_to(tmp_path / 'copy')}: cannot be read" in result.stdout
    assert result.stdout.count(", from '") == 3


def test_the_same_study_again_is_the_same_bits(finished, tmp_path):
    assert inside("run", study(tmp_path, models=[{"scratch": SHAPE}]), cwd=tmp_path).returncode == 0
    files = [*tmp_path.glob("runs/small/*/examples/*"), *tmp_path.glob("runs/small/*/model/model.safetensors")]
    assert len(files) == 2 * 3 + 1
    for path in files:
        assert path.read_bytes() == (finished[0] / path.relative_to(tmp_path)).read_bytes(), path


def test_a_trained_model_loads_in_plain_transformers(finished):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    for folder in (finished[0] / "runs" / "small").glob("*/model"):
        tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
        tokens = tokenizer("dos tre", return_tensors="pt").input_ids
        assert tokens.shape == (1, 7)
        assert model(input_ids=tokens).logits.shape == (1, 7, len(tokenizer))


def test_a_finished_model_goes_on_learning_as_a_folder(finished, tmp_path):
    path = next((finished[0] / "runs" / "small").glob("*/model"))
    methods = ["base", {"lora": {"rank": 2, "learning_rate": 1e-2}}]
    result = inside("run", study(tmp_path, models=[str(path)], methods=methods), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    start, end = (records(tmp_path)[name]["metrics"]["cross_entropy"]["value"] for name in ("base 0", "lora 0"))
    assert end != start


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ({"metrics": ["perplexity", "bleu"]}, "task.metrics[1]: bleu compares generated answers with references"),
        ({"prompt": {"system": "Write."}}, "leave out task.prompt"),
        ({"train": "none.txt"}, "no such file"),
    ],
)
def test_what_plain_text_cannot_have_is_refused(tmp_path, task, words):
    given = {"name": "text", "train": "input.txt", "metrics": ["perplexity"], **task}
    result = inside("run", study(tmp_path, task=given), cwd=tmp_path)
    assert result.returncode == 2
    assert words in result.stderr
    assert "Traceback" not in result.stderr


def test_samples_of_questions_with_answers_are_refused(tmp_path):
    tiny.write_jsonl(tmp_path / "rows.jsonl", tiny.rows(20))
    result = inside("run", study(tmp_path, task={"name": "t", "train": "rows.jsonl", "samples": {}}), cwd=tmp_path)
    assert result.returncode == 2
    assert "task.samples: samples are written for plain text" in result.stderr


def test_init_writes_a_study_of_plain_text(tmp_path):
    (tmp_path / "my text.txt").write_text(tiny.text(500), encoding="utf-8")
    assert fairtune("init", "my text.txt", cwd=tmp_path).returncode == 0
    status = inside("status", "study.yaml", "--json", cwd=tmp_path)
    assert [row["status"] for row in json.loads(status.stdout)] == ["missing"] * 6


def test_a_trained_model_is_exported_and_compared_on_the_windows_it_was_scored_on(finished):
    folder, _ = finished
    trained = [path.parent for path in (folder / "runs" / "small").glob("*/model")]
    assert len(trained) == 2
    for run in trained:
        result = inside("export", run, "--to", "merged", "--json", cwd=folder)
        assert result.returncode == 0, result.stderr
        parity = json.loads(result.stdout)
        record = json.loads((run / "record.json").read_text())
        assert parity["items"] == record["metrics"]["cross_entropy"]["n"] > 1
        assert parity["loss"]["run"] == pytest.approx(record["metrics"]["cross_entropy"]["value"], rel=1e-5)
        assert parity["logits"]["largest"] < 1e-4
        assert parity["items_tokenised_otherwise"] == 0
