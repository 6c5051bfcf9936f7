"""Attention over a packed row, tile by tile, and the names under which transformers finds it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import eager_mask, sdpa_mask

from fairtune.models.packing import Layout
from fairtune.models.precision import type_of_products

# What attends to a packed row, by the name of what attends where there is none: in padded rows, in generation.
PACKED = {"eager": "fairtune_packed_eager", "sdpa": "fairtune_packed_sdpa"}


class CannotPackError(Exception):
    """The architecture's attention does what a packed row cannot: texts are then padded, one a row."""


def _attend(
    otherwise: Callable[..., tuple[torch.Tensor, Any]],
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    packing: Layout | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **options: Any,
) -> tuple[torch.Tensor, Any]:
    """What transformers calls in a layer: ``(rows, heads, length, width)`` in, ``(rows, length, heads, width)`` out.

    Args:
        otherwise: what computes attention where there is no packing.

    Raises:
        CannotPackError: attention has a part that packing does not know.
    """
    if packing is None:
        how = {"dropout": dropout, "scaling": scaling, "sliding_window": sliding_window, **options}
        return otherwise(module, query, key, value, attention_mask, **how)
    unknown = [name for name in ("softcap", "s_aux", "position_bias") if options.get(name) is not None]
    if dropout or unknown or len(query) != 1 or value.shape[-1] != query.shape[-1]:
        told = ", ".join(unknown) or "dropout, values of another width than queries, or several rows"
        raise CannotPackError(f"attention has {told}")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    compute = type_of_products(query.device, query.dtype)
    layer = getattr(module, "layer_idx", None)
    if layer is None:
        raise CannotPackError("attention does not know the number of its layer")
    with torch.autocast(query.device.type, enabled=False):
        q, k, v = (part[0].to(compute) for part in (query, key, value))
        out = packing.attend(layer, q, k, v, scale, sliding_window)
    return out.transpose(0, 1).unsqueeze(0), None


def _written_out(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **options: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention as transformers writes it out for most architectures."""
    repeats = query.shape[1] // key.shape[1]
    if repeats > 1:
        key, value = key.repeat_interleave(repeats, 1), value.repeat_interleave(repeats, 1)
    scores = query @ key.transpose(2, 3) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    if attention_mask is not None:
        scores = scores + attention_mask
    p = torch.nn.functional.dropout(scores.softmax(-1, dtype=torch.float32).to(query.dtype), dropout, module.training)
    return (p @ value).transpose(1, 2).contiguous(), p


for name, plain, mask in (("eager", _written_out, eager_mask), ("sdpa", sdpa_attention_forward, sdpa_mask)):
    AttentionInterface.register(PACKED[name], functools.partial(_attend, plain))
    AttentionMaskInterface.register(PACKED[name], mask)
