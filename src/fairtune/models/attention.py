"""Attention over a packed row, tile by tile, and the name under which transformers finds it."""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from fairtune.models.packing import Packing, Tile

PACKED = "fairtune_packed"


class CannotPackError(Exception):
    """The architecture's attention does what a packed row cannot: texts are then padded, one a row."""


def attend(
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
) -> tuple[torch.Tensor, None]:
    """What transformers calls in a layer: ``(rows, heads, length, width)`` in, ``(rows, length, heads, width)`` out.

    Without a packing it is torch's own attention.

    Raises:
        CannotPackError: attention has a part that packing does not know.
    """
    if packing is None:
        plain: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **options
        )
        return plain
    unknown = [name for name in ("softcap", "s_aux", "position_bias") if options.get(name) is not None]
    if dropout or unknown or len(query) != 1:
        raise CannotPackError(f"attention with {', '.join(unknown) or 'dropout, or more than one row'}")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    kind = query.device.type
    compute = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else query.dtype
    masks = packing.masks(sliding_window, query.shape[1] // key.shape[1], compute)
    with torch.autocast(kind, enabled=False):
        parts = (part[0].to(compute) for part in (query, key, value))
        out: torch.Tensor = _Packed.apply(*parts, packing.tiles, masks, scale)  # type: ignore[no-untyped-call]
    return out.transpose(0, 1).unsqueeze(0), None


AttentionInterface.register(PACKED, attend)
AttentionMaskInterface.register(PACKED, sdpa_mask)


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
