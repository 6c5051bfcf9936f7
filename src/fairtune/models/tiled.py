"""Attention over a packed row, tile by tile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.autograd.function import once_differentiable

if TYPE_CHECKING:
    from fairtune.models.packing import Tile


def attend_in_tiles(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    tiles: Sequence[Tile],
    masks: Sequence[torch.Tensor],
    scale: float,
) -> torch.Tensor:
    """``softmax(q k^T · scale + mask) v`` of every tile, ``(heads, queries, width)``.

    Args:
        query: ``(heads, queries, width)``.
        key: ``(key heads, keys, width)``, as ``value``; the spans of tiles count its places.
        masks: of each tile ``(heads / key heads * queries, keys)``.
    """
    out: torch.Tensor = _Packed.apply(query, key, value, tiles, masks, scale)  # type: ignore[no-untyped-call]
    return out


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
        tiles: Sequence[Tile],
        masks: Sequence[torch.Tensor],
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
    parts = [key[:, start:stop] for start, stop in tile.spans]
    # Contiguous either way: torch multiplies batches of strided matrices slowly.
    return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0].contiguous()


def _add(total: torch.Tensor, tile: Tile, part: torch.Tensor) -> None:
    sizes = [stop - start for start, stop in tile.spans]
    for (start, stop), own in zip(tile.spans, torch.split(part, sizes, dim=1), strict=True):
        total[:, start:stop] += own


def _probabilities(rows: torch.Tensor, keys: torch.Tensor, mask: torch.Tensor, scale: float) -> torch.Tensor:
    return torch.baddbmm(mask, rows, keys.transpose(1, 2), alpha=scale).softmax(-1)
