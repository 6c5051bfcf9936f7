"""Published measurements: every usable one has a simulation, and a small one of each kind of step runs."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig

FILE = Path(__file__).parents[2] / "benchmarks" / "published.py"


@pytest.fixture(scope="module")
def published():
    spec = importlib.util.spec_from_file_location("published", FILE)
    module = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    sys.modules["published"] = module
    spec.loader.exec_module(module)
    yield module
    sys.path[:] = before
    sys.modules.pop("published"), sys.modules.pop("others")


def test_every_usable_measurement_has_a_recipe_and_every_other_one_a_reason(published):
    entries = published.measurements()
    assert len({entry["id"] for entry in entries}) == len(entries)
    for entry in entries:
        if not entry["usable"]:
            assert entry["reason"], entry["id"]
            continue
        recipe = published.recipe_of(entry)
        assert (recipe.rows, recipe.length) == (entry["batch"]["rows"], entry["batch"]["length"])
        assert (recipe.adapter is None) == (entry["method"] in {"full", "none"})
        assert entry["published"]["bytes"] or entry["published"]["figure"]


@pytest.fixture
def small():
    return AutoConfig.for_model(
        "llama",
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=1000,
    )


def test_pure_bf16_adamw_by_foreach_takes_ten_bytes_a_parameter_and_fused_eight(published, small):
    recipe = published.Recipe(small, 1, 8, trained=torch.bfloat16, loss="chunked loss", workspace=0)
    found = published.simulated(recipe).allocated
    size = found.terms["weights"]
    assert found.reserved == pytest.approx(5 * size, rel=0.1)
    fused = published.simulated(replace(recipe, optimizer={"fused": True})).allocated
    assert fused.reserved == pytest.approx(4 * size, rel=0.1)


def test_a_shifted_copy_of_the_logits_is_a_third_fp32_copy(published, small):
    small.vocab_size, tokens = 20_000, 4 * 64
    recipe = published.Recipe(small, 4, 64, trained=torch.bfloat16, loss="shifted copy", checkpointing=True)
    logits = published.simulated(recipe).allocated.terms["logits"]
    assert logits == pytest.approx(tokens * small.vocab_size * 12, rel=0.02)
