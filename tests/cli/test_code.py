"""A study whose answers are programs, through the real command line."""

import json

import pytest

from fairtune.evaluate.sandbox import available, confinement
from tests import tiny
from tests.cli.command import inside, study


def code_study(folder, model, **changes):
    """Whatever is answered stands within a string; the tests pass for half of the items."""
    rows = [{**row, "tests": f"'''\nassert {index % 2}", "prelude": "r'''"} for index, row in enumerate(tiny.rows(24))]
    task = {
        "name": "code",
        "train": "code.jsonl",
        "validation": 3,
        "test": 6,
        "max_new_tokens": 4,
        "columns": {"tests": "tests", "prelude": "prelude"},
        "metrics": ["pass_at_1"],
        **changes.pop("task", {}),
    }
    path = study(folder, model, task=task, methods=["base"], **changes)
    tiny.write_jsonl(folder / "code.jsonl", rows)
    return path


@pytest.mark.skipif(available() is not None, reason="no sandbox here")
def test_a_study_of_programs_runs_to_its_table(tmp_path, llama):
    task = {"code": {"samples": 2, "time": "5s"}, "generation": {"temperature": 0.8}}
    result = inside("run", code_study(tmp_path, llama, task=task), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "pass_at_1 ↑" in result.stdout
    assert "check" in result.stderr
    folder = next((tmp_path / "runs" / "small").glob("*/record.json")).parent
    record = json.loads((folder / "record.json").read_text())
    assert record["metrics"]["pass_at_1"]["signature"] == confinement(True)
    assert {"generate", "check"} <= set(record["phases"])
    lines = [json.loads(line) for line in (folder / "examples" / "pass_at_1.jsonl").read_text().splitlines()]
    assert all(len(line["samples"]) == 2 for line in lines)
    assert all(line["samples"][0]["output"] == line["output"] for line in lines)
    assert any(len({sample["output"] for sample in line["samples"]}) == 2 for line in lines)
