"""``budget: {batch_tokens: …}``: how much goes through a model at once, through the real command line."""

import json

import pytest

from tests.cli.command import inside, records, study

METHODS = [{"full": {"learning_rate": 1e-3}}, {"prefix": {"num_virtual_tokens": 2}}]


def ran(folder, llama, tokens):
    folder.mkdir()
    path = study(folder, llama, methods=METHODS, budget={"device": "cpu", "batch_tokens": tokens})
    assert inside("run", path, cwd=folder).returncode == 0
    return records(folder)


def losses(folder, record):
    lines = (folder / "runs" / "small" / record["run_id"] / "curve.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


def test_tokens_of_a_pass_are_those_asked_for_and_change_neither_a_run_s_id_nor_its_losses(tmp_path, llama):
    few, many = ran(tmp_path / "few", llama, 64), ran(tmp_path / "many", llama, 1024)
    for name, record in few.items():
        assert record["run_id"] == many[name]["run_id"]
        ours, theirs = losses(tmp_path / "few", record), losses(tmp_path / "many", many[name])
        assert ours == pytest.approx(theirs, rel=1e-5)
        values = {key: value["value"] for key, value in many[name]["metrics"].items()}
        assert {key: value["value"] for key, value in record["metrics"].items()} == pytest.approx(values, rel=1e-5)
    # What texts begin with is computed once a pass, and there are more of them.
    assert few["full 0"]["tokens"]["computed"] > many["full 0"]["tokens"]["computed"]
    assert few["prefix 0"]["tokens"]["padding"] < many["prefix 0"]["tokens"]["padding"]


@pytest.mark.parametrize("tokens", [0, -5, "many", 1.5, True])
def test_what_is_no_number_of_tokens_is_refused_with_its_place(tmp_path, llama, tokens):
    path = study(tmp_path, llama, budget={"batch_tokens": tokens})
    result = inside("run", path, cwd=tmp_path)
    assert result.returncode == 2
    assert "budget.batch_tokens" in result.stderr
