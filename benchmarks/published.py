"""Memory as others measured and published it (``published.yaml``), beside what the planner's simulation finds.

    .venv/bin/python benchmarks/published.py [--only peft] [--markdown]

What is simulated is the others' own step (``others.py``), not fairtune's, on phantoms, by the planner's own parts: the
model from its configuration, the trace of blocks, torch's allocator. Attention is torch's fused kernel wherever the
source used one: flash-attention 2 and flex attention keep the same, so a window as long as the texts is left out.
No GPU, no weights, no network; some minutes.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from transformers import AutoConfig

from fairtune.models.quantize import Quantization
from fairtune.models.shapes import shipped_config
from fairtune.plan.allocators.cuda import CudaCachingAllocator
from fairtune.plan.model import Blueprint
from fairtune.plan.replay import replay
from fairtune.plan.simulate import Case, Workload, simulate

sys.path.append(str(Path(__file__).parent))  # last: tokenize.py of this folder is not Python's
from others import Found, Recipe, simulated

PUBLISHED = Path(__file__).with_name("published.yaml")
# What a process holds beside torch's allocator (plan/devices.yaml), for verdicts and ranges: the device's whole memory.
CONTEXT = 480 * 2**20
CAPACITY = {"NVIDIA A100-SXM4-40GB": int(39.4 * 2**30), "NVIDIA T4 16GB": int(14.6 * 2**30)}
# Its longest batch is nobody's secret, but it is not at hand: found from this run, and then used for the other seven.
FITTED = "peft-llama-3.2-3b-lora-r32"
_TYPES = {"bf16": torch.bfloat16, "fp32": torch.float32, "nf4": torch.bfloat16}
_LLAMA_2 = "meta-llama/Llama-2-7b-hf"

# How models are built whose configuration does not ship: a shipped one, changed, or all of it.
_SHAPES: Mapping[str, tuple[str | None, Mapping[str, Any]]] = {
    "mistralai/Mistral-7B-v0.1": ("mistralai/Mistral-7B-v0.1", {"vocab_size": 32001, "sliding_window": None}),
    "meta-llama/Meta-Llama-3-8B": ("meta-llama/Llama-3.1-8B", {}),
    "ibm-granite/granite-3.3-8b-base": ("ibm-granite/granite-3.3-8b-instruct", {}),
    "decapoda-research/llama-7b-hf (same shape as huggyllama/llama-7b)": (_LLAMA_2, {}),
    "meta-llama/Llama-2-13b-hf": (
        _LLAMA_2,
        {
            "hidden_size": 5120,
            "intermediate_size": 13824,
            "num_hidden_layers": 40,
            "num_attention_heads": 40,
            "num_key_value_heads": 40,
        },
    ),
    "ibm/PowerLM-3b": (
        None,
        {
            "model_type": "granite",
            "hidden_size": 2304,
            "intermediate_size": 9216,
            "num_hidden_layers": 40,
            "num_attention_heads": 36,
            "num_key_value_heads": 36,
            "vocab_size": 49152,
            "tie_word_embeddings": True,
        },
    ),
    "microsoft/phi-1_5": (
        None,
        {
            "model_type": "phi",
            "hidden_size": 2048,
            "intermediate_size": 8192,
            "num_hidden_layers": 24,
            "num_attention_heads": 32,
            "vocab_size": 51200,
            "partial_rotary_factor": 0.5,
            "hidden_act": "gelu_pytorch_tanh",  # one kernel, as LitGPT computes it; transformers' gelu_new is many
            "resid_pdrop": 0.0,
        },
    ),
    "bigscience/bloomz-7b1": (
        None,
        {"model_type": "bloom", "hidden_size": 4096, "n_layer": 30, "n_head": 32, "vocab_size": 250880},
    ),
}


@dataclass(frozen=True)
class Row:
    """A line of the table. ``error`` is a share, None where there is nothing to divide by."""

    entry: Mapping[str, Any]
    predicted: str
    error: float | None
    told: str
    counts: bool = True


def measurements() -> list[dict[str, Any]]:
    """All entries of the file."""
    found: list[dict[str, Any]] = yaml.safe_load(PUBLISHED.read_text(encoding="utf-8"))["measurements"]
    return found


def config_of(model: str) -> Any:
    """transformers' configuration of a model of the file."""
    base, changes = _SHAPES.get(model, (model, {}))
    told = {} if base is None else shipped_config(base)
    assert told is not None, f"{model}: no configuration ships"
    return AutoConfig.for_model(**{**told, **changes})


def recipe_of(entry: Mapping[str, Any]) -> Recipe:
    """The step of an entry, with the switches of its source."""
    precision, batch = entry["precision"], entry["batch"]
    base = Recipe(
        config_of(entry["model"]),
        batch["rows"],
        batch["length"],
        adapter=adapter_of(entry),
        quantization=_quantization(entry),
        weights=_TYPES[precision["weights"]],
        trained=_TYPES[precision.get("adapter") or precision.get("gradients") or "fp32"],
        checkpointing=True if entry.get("checkpointing") == "every layer" else None,
        attention="eager" if entry.get("attention") == "eager" else "sdpa",
        autocast=precision["autocast"] is not None,
        trains=entry["phase"] == "train",
        accumulates=entry.get("accumulation", 1) > 1,
    )
    return replace(base, **_SWITCHES[entry["source"]](entry))


def adapter_of(entry: Mapping[str, Any]) -> Any:
    """PEFT's configuration of what an entry trains."""
    import peft

    told = entry.get("adapter") or {}
    method, common = entry["method"], {"task_type": "CAUSAL_LM"}
    if method in {"full", "none"}:
        return None
    if method == "prefix":
        return peft.PrefixTuningConfig(num_virtual_tokens=told["virtual_tokens"], **common)
    if method == "prompt":
        return peft.PromptTuningConfig(num_virtual_tokens=told["virtual_tokens"], **common)
    if method == "ia3":
        return peft.IA3Config(target_modules=told["targets"], feedforward_modules=told["feedforward"], **common)
    rank = told.get("rank") or 8
    return peft.LoraConfig(
        r=rank,
        lora_alpha=told.get("alpha") or 2 * rank,
        lora_dropout=told.get("dropout") or 0.0,
        target_modules=told.get("targets") or ["q_proj", "v_proj"],
        use_dora=method == "dora",
        **common,
    )


def _quantization(entry: Mapping[str, Any]) -> Quantization | None:
    told = entry.get("quantization")
    return None if told is None else Quantization("nf4", told["double"], torch.bfloat16)


def _litgpt(entry: Mapping[str, Any]) -> dict[str, Any]:
    if entry["phase"] == "generate":
        return {"caches": True}
    loss = "chunked loss" if entry["method"] == "full" else "chunked head"
    # The norms of 2023 are told in the file; by 2024 they were computed in fp32 (rmsnorm.py).
    return {"loss": loss, "joint": True, "norms_in_fp32": entry["source"] != "litgpt_tables"}


_SWITCHES: Mapping[str, Any] = {
    "fms_acceleration": lambda _: {"loss": "shifted copy"},
    # The longest batch is the first of a bucket of 20, and after every tenth step the cache is emptied.
    "peft_metamath": lambda _: {"padded": True, "caches": True, "empties_cache": True, "forgets": False},
    "litgpt_tables": _litgpt,
    "litgpt_hub": _litgpt,
    "torchtune_readme": lambda _: {"loss": "whole, dropped", "optimizer": {"fused": True}},
    "llamafactory_wiki": lambda _: {"loss": "shifted copy"},
    "hf_blog_4bit": lambda _: {"loss": "shifted copy", "upcast": True},
    "peft_readme": lambda _: {"loss": "whole"},
    "report_twenty_gigabytes": lambda _: {},
}


def rows(entries: list[dict[str, Any]]) -> Iterator[Row]:
    """Every usable entry, simulated; one after the other, for they take seconds each."""
    fitted: int | None = None
    for entry in entries:
        recipe = recipe_of(entry)
        if entry["source"] == "peft_metamath":
            fitted = fitted or _fitted_length()
            yield _of_unknown_length(entry, recipe, fitted)
        elif entry["phase"] == "evaluate":
            yield _of_a_band(entry, recipe)
        elif recipe.norms_in_fp32:
            yield _row(entry, simulated(recipe))
        else:
            yield _of_either_norm(entry, recipe)


def _of_a_band(entry: Mapping[str, Any], recipe: Recipe) -> Row:
    """A pass over one row, and answers as fairtune writes them, to one prompt and to 32."""
    few, many = (_writing(recipe.config, rows) for rows in (1, 32))
    found = _row(entry, simulated(recipe))
    band = f"fairtune's generation after prompts of 512 tokens: {gigabytes(few)} for one, {gigabytes(many)} for 32"
    return replace(found, told=f"{band}; {found.told}")


def _writing(config: Any, rows: int) -> int:
    blueprint = Blueprint(config, "bf16", None, "cuda", 2048)
    workload = Workload(prompts=[[0] * 512] * rows, answer_tokens=64)
    found = simulate(Case(blueprint, "base", {}, None, room=4 * 2**30), workload)
    return replay(found.trace, CudaCachingAllocator())["generate"].reserved + CONTEXT


def _of_either_norm(entry: Mapping[str, Any], recipe: Recipe) -> Row:
    """Nobody says from which day on LitGPT computed its norms in fp32; the file takes the older way."""
    other = _row(entry, simulated(replace(recipe, norms_in_fp32=True)))
    found = _row(entry, simulated(recipe))
    if other.predicted == found.predicted:
        return found  # no norm of that kind
    told = f"{other.predicted} {percent(other.error)}".strip()
    return replace(found, told=f"norms in bf16, {found.told} (with norms in fp32: {told})")


def _fitted_length() -> int:
    """The length at which the one run comes out as published, found by halving: memory grows with length."""
    entry = next(entry for entry in measurements() if entry["id"] == FITTED)
    recipe, target = recipe_of(entry), entry["published"]["bytes"]
    low, high = 128, entry["batch"]["length"]
    while high - low > 1:
        middle = (low + high) // 2
        reserved = simulated(replace(recipe, length=middle)).reserved.reserved
        low, high = (middle, high) if reserved < target else (low, middle)
    return low


def _of_unknown_length(entry: Mapping[str, Any], recipe: Recipe, length: int) -> Row:
    at_limit = _row(entry, simulated(recipe))
    found = _row(entry, simulated(replace(recipe, length=length)))
    told = f"longest batch of {length} tokens, which makes {FITTED} come out; at the limit of {recipe.length}: "
    return replace(found, told=f"{told}{at_limit.predicted}, {percent(at_limit.error)}", counts=entry["id"] != FITTED)


def _row(entry: Mapping[str, Any], found: Found) -> Row:
    published, assumed = entry["published"], "; ".join(_short(entry))
    if published["kind"] == "verdict":
        return _verdict(entry, found, assumed)
    size = found.reserved.reserved if "reserved" in published["statistic"] else found.allocated.reserved
    held = found.reserved.reserved + CONTEXT
    if published["kind"] == "range":
        return Row(entry, gigabytes(held), None, f"with the context of {CONTEXT / 2**20:.0f} MiB; {assumed}")
    if published["statistic"] == "not stated":
        both = f"{gigabytes(size)} allocated, {gigabytes(held)} ({held / 2**30:.2f} GiB) as the driver sees it"
        figure = float(published["figure"])
        apart = [percent(size / figure / 1e9 - 1), percent(held / figure / 1e9 - 1), percent(held / figure / 2**30 - 1)]
        told = f"what was measured is not stated: {apart[0]} if allocated, {apart[1]} (GiB: {apart[2]}) if the driver's"
        return Row(entry, both, None, f"{told}; {assumed}")
    target = published["bytes"] or float(published["figure"]) * 1e9
    if published["bytes"] is None:
        assumed = f"10^9 bytes ({percent(size / target / 1.073741824 - 1)} if GiB); {assumed}"
    return Row(entry, gigabytes(size), size / target - 1, assumed)


def _verdict(entry: Mapping[str, Any], found: Found, assumed: str) -> Row:
    capacity = CAPACITY[entry["device"]]
    size = found.reserved.reserved + (0 if "usable" in entry["published"]["statistic"] else CONTEXT)
    fits = size <= capacity
    agrees = fits == (entry["published"]["figure"] != "OOM")
    told = f"{'fits' if fits else 'OOM'}: {gigabytes(size)} of {gigabytes(capacity)}"
    return Row(entry, told, None, f"{'agrees' if agrees else 'DISAGREES'}; {assumed}")


def _short(entry: Mapping[str, Any]) -> list[str]:
    """What had to be assumed, without what is the same for all of a source and is told once."""
    return [text for text in entry["assumed"] if len(text) < _LONGEST_TOLD][:2]


_LONGEST_TOLD = 110


def gigabytes(size: float) -> str:
    """10^9 bytes."""
    return f"{size / 1e9:.2f} GB"


def percent(share: float | None) -> str:
    """With its sign."""
    return "" if share is None else f"{100 * share:+.2f} %" if abs(share) < 0.01 else f"{100 * share:+.1f} %"


# Not stated well enough: shown as the range that batches between these two would take.
_LEAST, _MOST = (1, 256), (8, 2048)


def unclear(entries: list[dict[str, Any]]) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Entries of the project reports of which batch and length are unknown, with the range of what they may be."""
    for entry in entries:
        if entry["source"] in {"report_semantic_evaluation", "report_mixed_precision"} and "fsdp" not in entry["id"]:
            found = [_unclear_bytes(entry, *batch) for batch in (_LEAST, _MOST)]
            yield entry, " to ".join(gigabytes(size) for size in found)


def _unclear_bytes(entry: Mapping[str, Any], rows: int, length: int) -> int:
    stated = entry.get("precision") or {"weights": "bf16", "autocast": None}
    recipe = Recipe(
        config_of(entry["model"]),
        entry["batch"]["rows"] or rows,
        length,
        adapter=adapter_of(entry),
        quantization=_quantization(entry),
        weights=_TYPES[stated["weights"]],
        trained=torch.bfloat16 if entry["method"] == "full" else torch.float32,
        autocast=stated["autocast"] is not None,
        caches=True,
    )
    return simulated(recipe).reserved.reserved


def show(found: list[Row], ranges: list[tuple[Mapping[str, Any], str]], markdown: bool) -> None:
    """Two tables, and the medians of each source."""
    titles = ("id", "what", "published", "predicted", "error", "assumed")
    table = [
        (row.entry["id"], _what(row.entry), _published(row.entry), row.predicted, _error(row), row.told)
        for row in found
    ]
    _print(titles, table, markdown)
    print()
    _print(("source", "figures", "median error", "largest"), list(_medians(found)), markdown)
    if ranges:
        print("\nNot stated well enough: batches from 1 x 256 to 8 x 2048 tokens (or the rows that are stated).\n")
        told = [(entry["id"], _published(entry), size, entry["reason"]) for entry, size in ranges]
        _print(("id", "published", "predicted range", "why"), told, markdown)


def _what(entry: Mapping[str, Any]) -> str:
    batch = entry["batch"]
    model = entry["model"].partition(" ")[0].rpartition("/")[2]
    return f"{model} {entry['method']} {entry['precision']['weights']}, {batch['rows']} x {batch['length']}"


def _published(entry: Mapping[str, Any]) -> str:
    published = entry["published"]
    size = published["bytes"]
    if size is not None and published["unit"] == "bytes":
        return gigabytes(size)
    return published["figure"] if published["unit"] == "none" else f"{published['figure']} {published['unit']}"


def _error(row: Row) -> str:
    return percent(row.error) if row.counts else "fitted"


def _medians(found: list[Row]) -> Iterator[tuple[str, ...]]:
    for source in dict.fromkeys(row.entry["source"] for row in found):
        errors = [row.error for row in found if row.entry["source"] == source and row.counts and row.error is not None]
        if errors:
            sizes = [abs(error) for error in errors]
            largest = max(errors, key=abs)
            yield source, str(len(errors)), f"{100 * statistics.median(sizes):.2f} %", percent(largest)


def _print(titles: tuple[str, ...], table: list[tuple[str, ...]], markdown: bool) -> None:
    if markdown:
        for line in (titles, tuple("---" for _ in titles), *table):
            print(f"| {' | '.join(line)} |")
        return
    widths = [max(len(line[column]) for line in (titles, *table)) for column in range(len(titles) - 1)]
    for line in (titles, *table):
        print("  ".join([*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[-1]]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="entries whose id holds this")
    parser.add_argument("--markdown", action="store_true")
    asked = parser.parse_args()
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    entries = [entry for entry in measurements() if asked.only in entry["id"]]
    found = list(rows([entry for entry in entries if entry["usable"]]))
    show(found, list(unclear(entries)), asked.markdown)


if __name__ == "__main__":
    main()
