"""Number formats of weights and of compute."""

from __future__ import annotations

import contextlib

import torch

from fairtune.study import Precision

WEIGHTS: dict[Precision, torch.dtype] = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "bf16_mixed": torch.float32,
    "fp16_mixed": torch.float32,
}
"""Of the base's weights. What is trained is fp32 everywhere: adapters, and master copies of bf16 weights."""

COMPUTE: dict[Precision, torch.dtype] = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "bf16_mixed": torch.bfloat16,
    "fp16_mixed": torch.float16,
}
"""Of matrix products."""


def type_of_products(device: torch.device, otherwise: torch.dtype) -> torch.dtype:
    """The type that matrix products have now: autocast's where it is on."""
    kind = device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else otherwise


def compute_in(precision: Precision, device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Matrix products in the precision of the run.

    ``bf16`` keeps the weights of the base in bf16, and what is trained in fp32 (adapters; master copies of full
    weights), so that small updates do not vanish. Autocast lets the fp32 part compute in bf16 too.
    The mixed precisions keep all weights in fp32. Autocast then rounds a weight where it is used, once a micro-batch
    and once a generated token: it remembers the rounding only of weights that are trained.
    """
    if COMPUTE[precision] == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=COMPUTE[precision])
