"""Generation with and without the gate before the output layer, alternating in one process; prints the ratio.

    .venv/bin/python benchmarks/output_layer.py [--rows 64] [--new 24] [--rounds 3]

The peer is transformers' own `generate` on the same frozen weights.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from fairtune.data.starter import SMALL_MODEL
from fairtune.models import fetch, identify
from fairtune.models.gate import OutputGate
from fairtune.study import ModelRef


def seconds(network: torch.nn.Module, rows: int, new: int) -> float:
    """One greedy generation of ``rows`` prompts of 22 tokens."""
    tokens = torch.randint(5, 40_000, (rows, 22), generator=torch.Generator().manual_seed(0))
    started = time.perf_counter()
    with torch.no_grad():
        network.generate(
            input_ids=tokens,
            attention_mask=torch.ones_like(tokens),
            do_sample=False,
            max_new_tokens=new,
            min_new_tokens=new,
        )
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--new", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    folder = fetch(identify(ModelRef(source=SMALL_MODEL), Path()), print)
    plain, gated = (
        AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).requires_grad_(False).eval()
        for _ in range(2)
    )
    OutputGate(gated.get_output_embeddings())
    times: dict[str, list[float]] = {"plain": [], "gated": []}
    for round_ in range(options.rounds + 1):
        for name, network in (("plain", plain), ("gated", gated)):
            spent = seconds(network, options.rows, options.new)
            if round_:  # the first is a warm-up
                times[name].append(spent)
    medians = {name: statistics.median(values) for name, values in times.items()}
    ratio = medians["plain"] / medians["gated"]
    print(
        f"{options.rows} rows, {options.new} new tokens: plain {medians['plain']:.2f} s, gated {medians['gated']:.2f} s"
    )
    print(f"ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
