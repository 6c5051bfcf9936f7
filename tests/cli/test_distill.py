"""Teachers and students through the real command line."""

import json

import pytest

from tests import tiny
from tests.cli.command import fairtune, inside, records, study


@pytest.fixture(scope="module")
def taught(tmp_path_factory, llama):
    folder = tmp_path_factory.mktemp("taught")
    methods = [
        {"full": {"learning_rate": 1e-3}},
        {"distill": {"teacher": {"run": "full", "model": "big"}, "top_k": 5, "models": "half", "learning_rate": 1e-3}},
        {"distill": {"teacher": str(llama), "top_k": "all", "student": "lora", "models": ["half"]}},
    ]
    models = [{"source": str(llama), "name": "big"}, {"source": str(llama), "first_layers": 1, "name": "half"}]
    path = study(folder, llama, methods=methods, models=models)
    result = fairtune("run", path, cwd=folder, FAIRTUNE_CACHE=str(folder / "cache"))
    assert result.returncode == 0, result.stderr
    return folder, path, result


def test_a_run_teaches_a_smaller_student_and_another_model_does_too(taught):
    folder, _, result = taught
    found = [json.loads(path.read_text()) for path in (folder / "runs" / "small").glob("*/record.json")]
    runs = {(record["spec"]["model"]["name"], record["spec"]["method"]["label"]): record for record in found}
    assert len(runs) == 4
    of_run = next(record for record in found if (record["spec"]["teacher"] or {}).get("run_id"))
    assert of_run["spec"]["teacher"]["run_id"] == runs[("big", "full")]["run_id"]
    assert of_run["phases"]["teach"]["seconds"] > 0
    assert of_run["parameters"]["total"] < runs[("big", "full")]["parameters"]["total"]
    of_model = next(record for record in found if (record["spec"]["teacher"] or {}).get("model"))
    assert of_model["spec"]["training"]["learning_rate"] == 2e-4  # the student's method's own
    assert "distill" in result.stdout


def test_lessons_are_computed_once(taught):
    folder, path, _ = taught
    kept = sorted((folder / "cache" / "lessons").glob("*/lessons.json"))
    assert len(kept) == 2
    result = inside("run", path, cwd=folder, FAIRTUNE_CACHE=str(folder / "cache"))
    assert result.returncode == 0
    assert sorted((folder / "cache" / "lessons").glob("*/lessons.json")) == kept


def test_a_student_is_restored_and_exported(taught):
    folder, _path, _ = taught
    for run_id, record in (
        (p.parent.name, json.loads(p.read_text())) for p in (folder / "runs").glob("*/*/record.json")
    ):
        if record["spec"]["method"]["name"] == "distill":
            result = inside("export", run_id, "--to", "merged", cwd=folder, FAIRTUNE_CACHE=str(folder / "cache"))
            assert result.returncode == 0, result.stderr


def test_a_teacher_that_failed_is_the_students_reason(tmp_path, llama):
    methods = [{"full": {"learning_rate": 1e30}}, {"distill": {"teacher": {"run": "full"}}}]
    result = inside("run", study(tmp_path, llama, methods=methods), cwd=tmp_path)
    assert result.returncode == 1
    found = records(tmp_path)
    student = next(record for record in found.values() if record["spec"]["method"]["name"] == "distill")
    assert student["status"] == "failed"
    assert "its teacher" in student["error"]["message"]
    assert "'diverged'" in student["error"]["message"]


@pytest.mark.parametrize(
    ("teacher", "told"),
    [
        ({"run": "ful"}, "has no run 'ful' that comes before; did you mean 'full'?"),
        ({"run": "full", "model": "nobody"}, "no model is called 'nobody'"),
        ({"run": "full", "source": "./x"}, "not both"),
        ({}, "needs a model"),
        ({"source": "./nowhere"}, "no such folder"),
    ],
)
def test_a_teacher_that_is_not_there_is_told_when_the_study_is_read(tmp_path, llama, teacher, told):
    methods = [{"full": {"learning_rate": 1e-3}}, {"distill": {"teacher": teacher}}]
    result = inside("status", study(tmp_path, llama, methods=methods), cwd=tmp_path)
    assert result.returncode == 2
    assert told in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("student", "told"),
    [
        ("lroa", "no method 'lroa' for a student; did you mean 'lora'?"),
        ({"lora": {"rank": 0}}, "lora.rank"),
        ("base", "no method 'base'"),
        ({"lora": {}, "full": {}}, "needs one method"),
    ],
)
def test_a_student_that_cannot_be_is_told(tmp_path, llama, student, told):
    methods = [{"distill": {"teacher": str(llama), "student": student}}]
    result = inside("status", study(tmp_path, llama, methods=methods), cwd=tmp_path)
    assert result.returncode == 2
    assert told in result.stderr


def test_different_vocabularies_are_refused_by_name(tmp_path, llama):
    other = tiny.save_model(tmp_path / "other", chat=True)
    tokenizer = tiny.tokenizer()
    tokenizer.add_tokens(["zzz"])
    tokenizer.save_pretrained(other)
    methods = [{"distill": {"teacher": str(other)}}]
    result = inside("run", study(tmp_path, llama, methods=methods), cwd=tmp_path)
    assert result.returncode == 1
    (record,) = records(tmp_path).values()
    assert "different vocabularies" in record["error"]["message"]
    assert "261 tokens" in record["error"]["message"]
