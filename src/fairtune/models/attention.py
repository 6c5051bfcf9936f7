"""Attention over a packed row, tile by tile, and the names under which transformers finds it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch.autograd.function import once_differentiable
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import eager_mask, sdpa_mask

from fairtune.models.packing import Packing, Tile
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
    packing: Packing | None = None,
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
    masks = packing.masks(sliding_window, query.shape[1] // key.shape[1], compute)
    with torch.autocast(query.device.type, enabled=False):
        parts = (part[0].to(compute) for part in (query, key, value))
        out: torch.Tensor = _Packed.apply(*parts, packing.tiles, masks, scale)  # type: ignore[no-untyped-call]
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


class _Packed(torch.autograd.Function):
    """``softmax(q k^T · scale + mask) v`` of every tile; the backward pass makes the probabilities anew.

    Several query heads may share a key head (Ainslie et al. 2023): their queries are rows of one product.
    """

    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        tiles: tuple[Tile, ...],
        masks: list[torch.Tensor],
        scale: float,
    ) -> torch.Tensor:
        out = torch.empty_like(query)
        for tile, mask in zip(tiles, masks, strict=True):
            rows = _rows(query, tile, len(key))
            seen = _probabilities(rows, _keys(key, tile), mask, scale) @ _keys(value, tile)
            out[:, tile.start : tile.stop] = seen.view(len(query), -1, query.shape[2])
        ctx.save_for_backward(query, key, value)
        ctx.layout = tiles, masks, scale
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        query, key, value = ctx.saved_tensors
        tiles, masks, scale = ctx.layout
        of_query = torch.empty_like(query)
        # Many tiles look at the same keys: their parts are summed in fp32.
        of_key, of_value = (torch.zeros_like(part, dtype=torch.float32) for part in (key, value))
        for tile, mask in zip(tiles, masks, strict=True):
            rows, keys = _rows(query, tile, len(key)), _keys(key, tile)
            toward = _rows(grad, tile, len(key))
            p = _probabilities(rows, keys, mask, scale)
            _add(of_value, tile, p.transpose(1, 2) @ toward)
            of_p = toward @ _keys(value, tile).transpose(1, 2)
            of_scores = torch._softmax_backward_data(of_p, p, -1, p.dtype).mul_(scale)
            of_query[:, tile.start : tile.stop] = (of_scores @ keys).view(len(query), -1, query.shape[2])
            _add(of_key, tile, of_scores.transpose(1, 2) @ rows)
        return of_query, of_key.to(key.dtype), of_value.to(value.dtype), None, None, None


def _rows(query: torch.Tensor, tile: Tile, heads: int) -> torch.Tensor:
    """A tile's queries, ``(key heads, repeats * queries, width)``."""
    return query[:, tile.start : tile.stop].reshape(heads, -1, query.shape[2])


def _keys(key: torch.Tensor, tile: Tile) -> torch.Tensor:
    """What a tile may look at, ``(key heads, keys, width)``."""
    own = key[:, tile.first : tile.stop]
    # Contiguous either way: torch multiplies batches of strided matrices slowly.
    return torch.cat([key[:, : tile.shared], own], dim=1) if tile.shared else own.contiguous()


def _add(total: torch.Tensor, tile: Tile, part: torch.Tensor) -> None:
    if tile.shared:
        total[:, : tile.shared] += part[:, : tile.shared]
    total[:, tile.first : tile.stop] += part[:, tile.shared :]


def _probabilities(rows: torch.Tensor, keys: torch.Tensor, mask: torch.Tensor, scale: float) -> torch.Tensor:
    return torch.baddbmm(mask, rows, keys.transpose(1, 2), alpha=scale).softmax(-1)
