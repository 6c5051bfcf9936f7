"""Many texts in one row, without padding, and what they begin with only once.

Every layer but attention works on each token by itself: to it a row of 512 tokens is 512 tokens, of however many texts.
So texts are laid end to end, each with its own positions, and attention alone is told which token may see which:
the shared beginning, and what came before in its own text. Nothing is computed twice, and nothing for padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

# Queries of one tile. Small enough that little of a tile is masked, large enough that a product is worth its call.
_TILE = 128


@dataclass(frozen=True)
class Tile:
    """Queries ``start:stop`` of the row, and the keys they may see some of: ``:shared`` and ``first:stop``."""

    start: int
    stop: int
    shared: int
    first: int


@dataclass(frozen=True)
class Packing:
    """How texts lie in a row of ``length`` tokens.

    ``positions`` ``(length,)``: of every token in its own text. ``texts`` ``(length,)``: which text it belongs to; -1
    for the shared beginning, which belongs to all.
    """

    positions: torch.Tensor
    texts: torch.Tensor
    tiles: tuple[Tile, ...]
    _masks: dict[tuple[int | None, int, torch.dtype], list[torch.Tensor]] = field(default_factory=dict)

    @property
    def windows(self) -> set[int]:
        """Those that layers have asked for."""
        return {window for window, _, _ in self._masks if window is not None}

    def masks(self, window: int | None, repeats: int, kind: torch.dtype) -> list[torch.Tensor]:
        """What is added to the scores of each tile, ``(repeats * queries, keys)``: 0 where a token may look, or -inf.

        Made once for all layers of a kind.

        Args:
            window: how many tokens back a query sees, its own included; None for all.
            repeats: query heads of a key head, whose queries lie one after the other.
        """
        key = (window, repeats, kind)
        if key not in self._masks:
            self._masks[key] = [self._mask(tile, window, kind).repeat(repeats, 1) for tile in self.tiles]
        return self._masks[key]

    def _mask(self, tile: Tile, window: int | None, kind: torch.dtype) -> torch.Tensor:
        keys = torch.cat([torch.arange(tile.shared), torch.arange(tile.first, tile.stop)]).to(self.texts.device)
        back = self.positions[tile.start : tile.stop, None] - self.positions[keys]
        own = self.texts[tile.start : tile.stop, None] == self.texts[keys]
        seen = (own | (self.texts[keys] < 0)) & (back >= 0)
        if window is not None:
            seen &= back < window
        return torch.zeros(seen.shape, dtype=kind, device=seen.device).masked_fill_(~seen, -torch.inf)


def tiles(shared: int, lengths: Sequence[int]) -> tuple[Tile, ...]:
    """The tiles of a row: short texts side by side in one, long ones in several."""
    found = [Tile(start, min(start + _TILE, shared), 0, 0) for start in range(0, shared, _TILE)]
    start = shared
    open_from: int | None = None  # where the tile began that still has room
    for length in lengths:
        if open_from is not None and start + length - open_from > _TILE:
            found.append(Tile(open_from, start, shared, open_from))
            open_from = None
        if length > _TILE:
            blocks = range(start, start + length, _TILE)
            found += [Tile(block, min(block + _TILE, start + length), shared, start) for block in blocks]
        elif open_from is None:
            open_from = start
        start += length
    if open_from is not None:
        found.append(Tile(open_from, start, shared, open_from))
    return tuple(found)
