"""Number formats of weights and of compute."""

from __future__ import annotations

import contextlib

import torch

from fairtune.study import Precision

DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}


def compute_in(precision: Precision, device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Matrix products in the precision of the run.

    ``bf16`` keeps the weights of the base in bf16, and what is trained in fp32 (adapters; master copies of full
    weights), so that small updates do not vanish. Autocast lets the fp32 part compute in bf16 too.
    """
    if precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=DTYPES[precision])
