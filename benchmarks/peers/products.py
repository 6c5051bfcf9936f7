"""How fast this machine multiplies bf16 matrices of the model's shapes: ``products.py WORKLOAD.json``.

Every linear layer of the model, the output layer included, each with weights of its own: the product of the forward
pass, the one that gives the inputs' gradient, and for full fine-tuning the one that gives the weights'. The number of
rows is that of a micro-batch; of several the quickest counts.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path

import torch
from measure import tell
from torch.nn.functional import linear
from transformers import AutoConfig, AutoModelForCausalLM

ROWS = (512, 1024)
PASSES = 3


def shapes(folder: str) -> list[tuple[int, int]]:
    """``(d_out, d_in)`` of all linear layers."""
    with torch.device("meta"):
        network = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
    return [tuple(m.weight.shape) for m in network.modules() if isinstance(m, torch.nn.Linear)]


def seconds(weights: list[torch.Tensor], rows: int, full: bool) -> float:
    """Of one pass over all layers."""
    widths = {width for weight in weights for width in weight.shape}
    given = {width: torch.randn(rows, width).bfloat16() for width in widths}
    started = time.perf_counter()
    for weight in weights:
        linear(given[weight.shape[1]], weight)
    for weight in weights:
        linear(given[weight.shape[0]], weight.t())
        if full:
            given[weight.shape[0]].t() @ given[weight.shape[1]]
    return time.perf_counter() - started


@torch.no_grad()
def main() -> None:
    workload = json.loads(Path(sys.argv[1]).read_text())
    full = workload["method"] == "full"
    weights = [torch.randn(shape).bfloat16() for shape in shapes(workload["model"])]
    flops = (6 if full else 4) * sum(weight.numel() for weight in weights)
    rates = {}
    for rows in ROWS:
        seconds(weights, rows, full)  # a warm-up
        rates[rows] = flops * rows / statistics.median(seconds(weights, rows, full) for _ in range(PASSES))
    tell({"rate": max(rates.values()), "rates": rates})


if __name__ == "__main__":
    main()
