"""``fairtune plan`` as it really is: no weights, no network, nothing faked."""

from __future__ import annotations

import json

import pytest

from fairtune.execute.planning import Planner
from fairtune.execute.request import read_request
from fairtune.plan.devices import find_device
from tests import tiny
from tests.cli.command import fairtune, inside, study

METHODS = ["full", {"lora": {"rank": 4}}, {"qlora": {"rank": 4}}, {"dora": {"rank": 4}}, "prefix"]
GIB = 2**30


def shape(**changes):
    """A Llama of a size at which weights count for something."""
    told = tiny.config().to_dict() | {"vocab_size": 2000, "hidden_size": 256, "intermediate_size": 512, **changes}
    kept = ("model_type", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    return {key: told[key] for key in (*kept, "num_key_value_heads", "max_position_embeddings")}


def asked(folder, **changes):
    models = [{"config": shape(), "name": "small"}]
    given = {"models": models, "methods": METHODS, "precision": ["fp32", "bf16"], **changes}
    return study(folder, "", **given)


def test_every_run_is_planned_from_a_configuration_alone(tmp_path):
    result = inside("plan", asked(tmp_path), "--device", "l4", "--memory", "20GiB", "--json", "--quick", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["device"] == "l4"
    assert found["budget_bytes"] == 20 * GIB
    assert len(found["runs"]) == 10
    peaks = {(run["method"], run["precision"]): run["phases"]["train"] for run in found["runs"]}
    for run in found["runs"]:
        assert run["verdict"] == "fits"
        assert run["simulated"], run
        assert set(run["phases"]) == {"load", "train", "evaluate", "generate"}
        train = run["phases"]["train"]
        assert sum(train["terms"].values()) == train["peak_bytes"]
        assert train["seconds"] > 0
    for precision in ("fp32", "bf16"):
        sizes = {method: peaks[method, precision]["terms"] for method in ("full", "lora", "qlora")}
        assert sizes["qlora"]["weights"] < sizes["lora"]["weights"]
        assert sizes["full"]["optimizer"] > 10 * sizes["lora"]["optimizer"]


def test_what_does_not_fit_is_told_what_would(tmp_path):
    plan = ("plan", asked(tmp_path, methods=["full", "base"]), "--device", "l4", "--memory", "24MiB", "--json")
    result = inside(*plan, cwd=tmp_path)
    assert result.returncode == 1
    runs = json.loads(result.stdout)["runs"]
    assert {run["verdict"] for run in runs} == {"does_not_fit"}
    assert all(run["advice"] for run in runs)
    assert all("GiB" in run["binding"] or "MiB" in run["binding"] for run in runs)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--device", "h100-mig-20"), "h100-mig-20gb"),
        (("--device", "l4", "--memory", "lots"), "--memory"),
    ],
)
def test_wrong_requests_end_with_2(tmp_path, arguments, told):
    result = inside("plan", asked(tmp_path), *arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert told in result.stderr


def test_a_model_that_nobody_knows_is_told_which_file_to_put_where(tmp_path):
    path = asked(tmp_path, models=["somebody/unheard-of"])
    result = fairtune("plan", path, "--device", "l4", cwd=tmp_path, HF_HUB_OFFLINE="1")
    assert result.returncode == 2
    assert "config.json" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_billion_weights_that_ship_as_a_shape(tmp_path, monkeypatch):
    """Full fine-tuning in bf16 holds 2 + 4 + 4 + 4 bytes a weight before any activation: 16.1 GiB of 1.24 billion."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    path = asked(tmp_path, models=["meta-llama/Llama-3.2-1B"], methods=["full"], precision="bf16")
    request = read_request(path, weights=False)
    plan = Planner(find_device("h100-mig-20gb"), 20 * GIB).plan(request.specs[0])
    terms = plan.phases["train"].terms
    assert plan.simulated
    assert terms["weights"] == pytest.approx(2 * 1_235_814_400, rel=0.001)
    assert terms["optimizer"] == pytest.approx(12 * 1_235_814_400, rel=0.001)
    assert plan.verdict in ("tight", "does_not_fit")
    assert any("bytes of the texts" in told for told in plan.assumed)


def test_seeds_and_rates_share_a_simulation(tmp_path, monkeypatch):
    path = asked(tmp_path, methods=[{"full": {"learning_rate": [1e-3, 1e-4]}}], seeds=[0, 1, 2], precision="bf16")
    planner = Planner(find_device("l4"), None)
    calls = []
    real = planner._planned
    monkeypatch.setattr(planner, "_planned", lambda spec: calls.append(spec) or real(spec))
    plans = [planner.plan(spec) for spec in read_request(path, weights=False).specs]
    assert len(plans) == 6
    assert len(calls) == 1
