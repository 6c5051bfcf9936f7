import json
import subprocess
import sys

import pytest

from fairtune.methods import METHODS
from tests.cli.command import fairtune


def test_help_lists_every_command(tmp_path):
    text = fairtune("--help", cwd=tmp_path).stdout
    for name in ("run", "status", "report", "methods", "tasks", "schema", "init", "export"):
        assert f" {name} " in text


def test_methods_and_tasks_are_listed_for_people_and_programs(tmp_path):
    assert "low-rank" in fairtune("methods", cwd=tmp_path).stdout
    methods = json.loads(fairtune("methods", "--json", cwd=tmp_path).stdout)
    names = [method["name"] for method in methods]
    assert names == list(METHODS)
    assert {"base", "full", "lora", "qlora", "prefix", "distill", "peft"} <= set(names)
    assert all({"name", "trains", "paper", "devices", "precisions"} <= set(method) for method in methods)
    tasks = json.loads(fairtune("tasks", "--json", cwd=tmp_path).stdout)
    assert [task["name"] for task in tasks] == ["cldr-spanish"]


def test_the_schema_accepts_the_studies_that_ship(tmp_path):
    jsonschema = pytest.importorskip("jsonschema", reason="needs jsonschema to read the schema as an editor does")
    from pathlib import Path

    from fairtune.study.yaml_file import read_yaml

    schema = json.loads(fairtune("schema", cwd=tmp_path).stdout)
    jsonschema.Draft202012Validator.check_schema(schema)  # once; jsonschema.validate would do it for every study
    editor = jsonschema.Draft202012Validator(schema)
    for path in (Path(__file__).parents[2] / "studies").glob("*.yaml"):
        editor.validate(read_yaml(path))
    with pytest.raises(jsonschema.ValidationError):
        editor.validate({"name": "n", "task": "t", "models": "m", "methods": [{"lora": {"rnak": 1}}]})


@pytest.mark.parametrize(
    "module",
    [
        "cli",
        "study",
        "records",
        "stats",
        "report",
        "tasks",
        "execute",
        "methods",
        "models",
        "models.export",
        "data",
        "evaluate.metrics",
    ],
)
def test_what_need_not_import_torch_does_not(module):
    program = f"import sys, fairtune.{module}; print(sorted({{'torch', 'transformers', 'peft'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
