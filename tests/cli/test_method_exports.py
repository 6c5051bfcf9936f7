"""What methods of every kind saved leaves through the real command line as what it was."""

import json

import pytest

from tests import tiny
from tests.cli.command import inside, records, study

METHODS = [
    {"qlora": {"rank": 2}},
    {"adapter": {"bottleneck": 4}},
    {"peft": {"type": "prompt_tuning", "num_virtual_tokens": 3}},
    "bitfit",
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exports")
    path = study(folder, tiny.save_model(folder / "model"), methods=METHODS, training={"learning_rate": 1e-2})
    result = inside("run", path, cwd=folder)
    assert result.returncode == 0, result.stderr
    return folder


@pytest.mark.parametrize(
    ("method", "form"), [("qlora", "merged"), ("adapter", "adapter"), ("peft", "adapter"), ("bitfit", "merged")]
)
def test_an_export_is_the_run(finished, method, form):
    run_id = next(r["run_id"] for r in records(finished).values() if r["spec"]["method"]["name"] == method)
    result = inside("export", run_id, "--to", form, "--json", cwd=finished)
    assert result.returncode == 0, result.stderr
    parity = json.loads(result.stdout)
    assert parity["answers_as_recorded"] == parity["items"]
    assert parity["answers"]["changed"] == 0
    assert parity["logits"]["largest"] < 1e-2


def test_a_bottleneck_cannot_be_merged_and_says_so(finished):
    run_id = next(r["run_id"] for r in records(finished).values() if r["spec"]["method"]["name"] == "adapter")
    result = inside("export", run_id, "--to", "merged", cwd=finished)
    assert result.returncode == 2
    assert "no change of weights" in result.stderr
