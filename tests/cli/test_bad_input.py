"""Wrong requests: one clear message, exit code 2, no traceback, nothing lost."""

import json
import shutil

import pytest

from tests import tiny
from tests.cli.command import fairtune, inside, study


def refused(result, *words):
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    for word in words:
        assert word in result.stderr, result.stderr


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"models": ["./nowhere"]}, ["model folder", "no such folder"]),
        ({"models": ["not a model"]}, ["not understood", "a hub id (owner/name)"]),
        ({"models": ["./empty"]}, ["has no config.json"]),
        ({"task": "cldr-spansh"}, ["unknown task 'cldr-spansh'; did you mean 'cldr-spanish'?"]),
        ({"methods": ["loar"]}, ["methods[0]: unknown method 'loar'; did you mean 'lora'?"]),
        ({"sedes": [1]}, ["sedes: unknown; did you mean 'seeds'?"]),
        ({"evaluate": ["belu"]}, ["evaluate[0]: unknown metric 'belu'; did you mean 'bleu'?"]),
        ({"training": {"epochs": 0}}, ["training.epochs: 0: should be greater than or equal to 1"]),
        ({"name": "../escape"}, ["name: '../escape'"]),
        ({"models": None}, ["models: is required and missing"]),
    ],
)
def test_a_wrong_study_is_refused(tmp_path, llama, changes, words):
    (tmp_path / "empty").mkdir()
    refused(inside("run", study(tmp_path, llama, **changes), cwd=tmp_path), *words)
    assert not (tmp_path / "runs").exists()


def test_several_mistakes_are_told_together(tmp_path, llama):
    changes = {"methods": ["loar"], "sedes": [1], "evaluate": ["belu"]}
    refused(inside("run", study(tmp_path, llama, **changes), cwd=tmp_path), "3 problems", "loar", "sedes", "belu")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty"),
        ('{"prompt": "a", "completion": ""}\n', "'completion' must be text that is not empty"),
        ('{"prompt": "a"}\n', "columns prompt fit no known shape"),
        ('{"prompt": "a", "completion": "b"}\nnot json\n', "line 2: not JSON"),
        ('{"prompt": "a", "completion": "b"}\n', "leaves none to train on"),
    ],
)
def test_data_that_cannot_be_used_are_refused(tmp_path, llama, content, words):
    path = study(tmp_path, llama)
    (tmp_path / "rows.jsonl").write_text(content)
    refused(inside("run", path, cwd=tmp_path), words)


def test_a_file_that_is_no_study_is_refused(tmp_path):
    (tmp_path / "bad.yaml").write_text("name: [unclosed")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    refused(inside("run", "bad.yaml", cwd=tmp_path), "line 1, column", "not valid YAML")
    refused(inside("run", "binary.yaml", cwd=tmp_path), "is not UTF-8 text")
    refused(inside("run", "missing.yaml", cwd=tmp_path), "no such file")
    refused(inside("run", ".", cwd=tmp_path), "is a folder")


@pytest.mark.parametrize("arguments", [["rum", "x"], ["run"], ["run", "x.yaml", "--nope"], ["report", "x", "--format"]])
def test_a_wrong_command_is_refused(tmp_path, arguments):
    refused(fairtune(*arguments, cwd=tmp_path))


def test_an_unknown_format_is_refused_with_the_nearest(tmp_path, llama):
    path = study(tmp_path, llama)
    refused(fairtune("report", path, "--format", "jsn", cwd=tmp_path), "did you mean 'json'?")


def test_a_folder_that_cannot_hold_runs_is_refused(tmp_path, llama):
    (tmp_path / "file").write_text("")
    path = study(tmp_path, llama)
    refused(inside("run", path, "--runs", "file", cwd=tmp_path), "cannot be written", "--runs DIR")


def test_init_never_overwrites_a_study_and_refuses_data_it_does_not_know(tmp_path):
    tiny.write_jsonl(tmp_path / "rows.jsonl", tiny.rows(5))
    (tmp_path / "study.yaml").write_text("mine")
    refused(fairtune("init", "rows.jsonl", cwd=tmp_path), "study.yaml exists", "--output")
    assert (tmp_path / "study.yaml").read_text() == "mine"
    tiny.write_jsonl(tmp_path / "odd.jsonl", [{"q": "a", "a": "b"}])
    refused(fairtune("init", "odd.jsonl", "-o", "new.yaml", cwd=tmp_path), "columns q, a fit no known shape")
    assert not (tmp_path / "new.yaml").exists()


def failed_record(result, folder, *words):
    """A run that could not be done became a record; the command says so and exits with 1."""
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr + result.stdout
    record = json.loads(next((folder / "runs" / "small").glob("*/record.json")).read_text())
    assert record["status"] == "failed"
    for word in words:
        assert word in record["error"]["message"]
        assert word in result.stdout.replace("\n", " ")
    return record


def test_a_prompt_longer_than_the_context_is_a_failed_run_with_the_numbers(tmp_path):
    model = tiny.save_model(tmp_path / "short", context=80)
    path = study(tmp_path, model, methods=["base"])
    rows = [{"prompt": "x" * 90, "completion": "y"}, *tiny.rows(20)]
    tiny.write_jsonl(tmp_path / "rows.jsonl", rows)
    record = failed_record(inside("run", path, cwd=tmp_path), tmp_path, "the model's context holds 80")
    assert record["error"]["phase"] == "load"


def test_prompts_that_fill_max_length_are_a_failed_run(tmp_path, llama):
    path = study(tmp_path, llama, methods=["full"], training={"max_length": 20})
    failed_record(inside("run", path, cwd=tmp_path), tmp_path, "training.max_length=20")


def test_targets_that_the_model_does_not_have_are_a_failed_run(tmp_path, llama):
    path = study(tmp_path, llama, methods=[{"lora": {"targets": ["query"]}}])
    failed_record(inside("run", path, cwd=tmp_path), tmp_path, "methods.targets: no linear layer 'query'")


def test_weights_that_are_damaged_are_a_failed_run(tmp_path, llama):
    shutil.copytree(llama, tmp_path / "model")
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    path = study(tmp_path, "./model", methods=["base"])
    failed_record(inside("run", path, cwd=tmp_path), tmp_path, "cannot be loaded")


def test_a_device_that_is_not_there_is_a_failed_run(tmp_path, llama):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has the device")
    path = study(tmp_path, llama, methods=["base"], budget={"device": "cuda"})
    failed_record(inside("run", path, cwd=tmp_path), tmp_path, "budget.device is 'cuda'")
