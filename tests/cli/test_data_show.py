"""``fairtune data show`` through the real command line, and what a run keeps of it."""

import json

import pytest
import yaml

from tests import tiny
from tests.cli.command import inside, records, study
from tests.cli.test_scratch import study as text_study

QUESTIONS = ["uno", "dos", "tres", "cuatro", "cinco", "seis"]


@pytest.fixture
def rendered(tmp_path):
    """Rows whose prompts have been put through the template already."""
    lines = [
        {"prompt": f"<|im_start|>user\n{index} {word}<|im_end|>\n", "completion": word}
        for index, word in enumerate(QUESTIONS * 4)
    ]
    return tiny.write_jsonl(tmp_path / "rendered.jsonl", lines)


def test_a_study_is_shown_as_its_model_reads_it(tmp_path, llama):
    path = study(tmp_path, llama, training={"max_length": 40})
    result = inside("data", "show", path, "--rows", 2, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert f"as {llama.name} reads it (max_length 40)" in result.stdout
    assert result.stdout.count("⟦") == 3  # two examples and the legend
    assert "│<|im_end|>⟧│\n" in result.stdout
    assert "reading the tokens of 24 examples" in result.stderr


def test_other_models_of_a_study_are_named_and_can_be_chosen(tmp_path, llama, gpt2):
    path = study(tmp_path, "unused", models=[str(llama), {"source": str(gpt2), "name": "second"}])
    assert "other models: second" in inside("data", "show", path, cwd=tmp_path).stdout
    shown = json.loads(inside("data", "show", path, "--model", "second", "--json", cwd=tmp_path).stdout)
    assert (shown["model"], shown["other_models"]) == ("second", [llama.name])
    assert shown["examples"][0]["tokens"][-1] == {
        "id": 0,
        "text": "<|endoftext|>",
        "supervised": True,
        "special": True,
        "character": "",
    }
    elsewhere = inside("data", "show", path, "--model", llama, "--json", cwd=tmp_path)
    assert json.loads(elsewhere.stdout)["model"] == llama.name


def test_a_file_of_rows_is_shown_by_any_model(tmp_path, llama, rendered):
    shown = json.loads(inside("data", "show", rendered, "--model", llama, "--json", cwd=tmp_path).stdout)
    train = shown["summary"]["train"]
    assert train["raw"] + train["template"] == train["tokens"]
    assert sum(bar["count"] for bar in train["lengths"]) == train["examples"] == 16
    assert [(found["name"], found["severity"], found["count"]) for found in shown["findings"]] == [
        ("template_twice", "error", 16)
    ]


def test_examples_are_chosen_by_id_and_part(tmp_path, llama, rendered):
    options = ["data", "show", rendered, "--model", llama, "--part", "test", "--json"]
    ids = [example["id"] for example in json.loads(inside(*options, cwd=tmp_path).stdout)["examples"]]
    assert len(ids) == 3
    wanted = f"{ids[2]}, {ids[0]}"
    found = json.loads(inside(*options, "--ids", wanted, cwd=tmp_path).stdout)["examples"]
    assert [example["id"] for example in found] == [ids[0], ids[2]]
    wrong = inside(*options, "--ids", "nobody", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "--ids nobody: not in the test part, where ids read" in wrong.stderr


def test_plain_text_is_shown_in_windows_by_the_characters_of_its_training_part(tmp_path):
    shown = json.loads(inside("data", "show", text_study(tmp_path), "--rows", 2, "--json", cwd=tmp_path).stdout)
    train = shown["summary"]["train"]
    assert (train["examples"], train["template"]) == (1, 0)
    assert train["windows"] == -(-(train["tokens"] - 1) // 8)
    assert train["supervised"] == train["tokens"] - 1
    first, second = shown["examples"]
    assert (len(first["tokens"]), first["tokens"][-1]["text"]) == (9, second["tokens"][0]["text"])
    by_document = inside(
        *("data", "show", tmp_path / "study.yaml", "--json", "--ids", first["id"].partition("@")[0]), cwd=tmp_path
    )
    assert len(json.loads(by_document.stdout)["examples"]) == train["windows"]


def test_a_page_is_written(tmp_path, llama, rendered):
    result = inside("data", "show", rendered, "--model", llama, "--html", "page.html", cwd=tmp_path)
    assert result.stdout == "Wrote page.html\n"
    assert "template_twice" in (tmp_path / "page.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--part", "tets"], "--part tets: unknown; did you mean 'test'?"),
        (["--model", "lama"], "--model lama: did you mean 'llama'? allowed: llama, or a model's place"),
        (["--rows", "-1"], "Invalid value for '--rows'"),
        (["--max-length", "1"], "Invalid value for '--max-length'"),
    ],
)
def test_a_wrong_request_is_told(tmp_path, llama, options, words):
    path = study(tmp_path, llama, models=[{"source": str(llama), "name": "llama"}])
    result = inside("data", "show", path, *options, cwd=tmp_path)
    assert result.returncode == 2
    assert words in result.stderr


def test_no_weights_are_loaded(tmp_path, llama, monkeypatch):
    from transformers import AutoModelForCausalLM

    monkeypatch.delattr(AutoModelForCausalLM, "from_pretrained")
    assert inside("data", "show", study(tmp_path, llama), cwd=tmp_path).returncode == 0


def test_a_run_keeps_the_findings_of_its_training_examples_and_the_report_shows_them(tmp_path, llama, rendered):
    path = study(tmp_path, llama, methods=[{"full": {"learning_rate": 1e-3}}])
    content = yaml.safe_load(path.read_text())
    content["task"] |= {"train": rendered.name, "metrics": ["perplexity"]}
    path.write_text(yaml.safe_dump(content))
    result = inside("run", path, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    found = records(tmp_path)
    (finding,) = found["full 0"]["data_findings"]
    assert (finding["name"], finding["severity"], finding["share"]) == ("template_twice", "error", 1.0)
    assert "Data: error template_twice in 16 training examples (100.0%)" in result.stdout
    log = tmp_path / "runs" / "small" / found["full 0"]["run_id"] / "log.txt"
    assert "data: error template_twice in 16 training examples" in log.read_text()
