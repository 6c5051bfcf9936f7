"""Many texts in one row, without padding, and what they have in common only once.

Every layer but attention works on each token by itself: to it a row of 512 tokens is 512 tokens, of however many texts.
So texts are laid end to end, each with its own positions, and attention alone is told which token may see which. A
beginning that several texts have in common stands before them and is seen by all of them; so do beginnings of some of
these, and so on, as branches of a tree. Nothing is computed twice, and nothing for padding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from fairtune.models.tiled import attend_in_tiles

# Queries of one tile. Small enough that little of a tile is masked, large enough that a product is worth its call.
_TILE = 128

Numbers = npt.NDArray[np.int64]
Keep = Callable[[int, torch.Tensor, torch.Tensor], None]


@dataclass(frozen=True)
class Tile:
    """Queries ``start:stop`` of the row, and the keys they may see some of: ranges, the last of which ends there."""

    start: int
    stop: int
    spans: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Past:
    """Keys and values of tokens that stand before a row, for each layer ``(key heads, tokens, width)``."""

    keys: tuple[torch.Tensor, ...]
    values: tuple[torch.Tensor, ...]

    @property
    def length(self) -> int:
        """Tokens."""
        return int(self.keys[0].shape[1])


class Kept:
    """Keys and values of a row, and of what stood before it."""

    def __init__(self) -> None:
        self._layers: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def take(self, layer: int, key: torch.Tensor, value: torch.Tensor) -> None:
        """Those of a layer, ``(key heads, tokens, width)``."""
        self._layers[layer] = key, value

    def past(self) -> Past:
        """What a later row may stand behind."""
        keys, values = zip(*(self._layers[layer] for layer in range(len(self._layers))), strict=True)
        return Past(keys, values)


class Layout(Protocol):
    """How the tokens of one row lie, as far as attention has to know."""

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, window: int | None
    ) -> torch.Tensor:
        """``softmax(q k^T · scale) v`` of what each token may see, ``(heads, row, width)``.

        Args:
            layer: its number, from 0.
            query: ``(heads, row, width)``; ``key`` and ``value`` with a whole fraction of the heads.
            window: how many tokens back a query sees, its own included; None for all.
        """


@dataclass(frozen=True)
class Packing:
    """How texts lie in a row, and before it.

    Places count from the first token of the past, all of which every token of the row sees. ``positions``
    ``(places,)``: of every token in its own text. ``ends`` ``(places,)``: the place behind the last token that may see
    this one: a text is seen to its end, a beginning to the end of the last text that has it.
    """

    positions: torch.Tensor
    ends: torch.Tensor
    tiles: tuple[Tile, ...]
    past: Past | None = None
    keep: Keep | None = None
    """Is given each layer's number, and the keys and values of the row and what stands before it."""
    _masks: dict[tuple[int | None, int, torch.dtype], list[torch.Tensor]] = field(default_factory=dict)

    @property
    def before(self) -> int:
        """Tokens of the past."""
        return 0 if self.past is None else self.past.length

    def arguments(self) -> dict[str, Any]:
        """What a network is given with the row's tokens."""
        return {"position_ids": self.positions[self.before :].unsqueeze(0), "packing": self}

    @property
    def windows(self) -> set[int]:
        """Those that layers have asked for."""
        return {window for window, _, _ in self._masks if window is not None}

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, window: int | None
    ) -> torch.Tensor:
        """As :class:`Layout` says."""
        if self.past is not None:
            key = torch.cat([self.past.keys[layer], key], dim=1)
            value = torch.cat([self.past.values[layer], value], dim=1)
        if self.keep is not None:
            self.keep(layer, key, value)
        masks = self.masks(window, query.shape[0] // key.shape[0], query.dtype)
        return attend_in_tiles(query, key, value, self.tiles, masks, scale)

    def masks(self, window: int | None, repeats: int, kind: torch.dtype) -> list[torch.Tensor]:
        """What is added to the scores of each tile, ``(repeats * queries, keys)``: 0 where a token may look, or -inf.

        Made once for all layers of a kind.

        Args:
            repeats: query heads of a key head, whose queries lie one after the other.
        """
        key = (window, repeats, kind)
        if key not in self._masks:
            self._masks[key] = [self._mask(tile, window, kind).repeat(repeats, 1) for tile in self.tiles]
        return self._masks[key]

    def _mask(self, tile: Tile, window: int | None, kind: torch.dtype) -> torch.Tensor:
        keys = torch.cat([torch.arange(*span) for span in tile.spans]).to(self.ends.device)
        queries = torch.arange(tile.start + self.before, tile.stop + self.before).to(self.ends.device)[:, None]
        seen = (keys <= queries) & (queries < self.ends[keys])
        if window is not None:
            seen &= self.positions[queries] - self.positions[keys] < window
        return torch.zeros(seen.shape, dtype=kind, device=seen.device).masked_fill_(~seen, -torch.inf)


def lay(positions: Any, ends: Any, device: torch.device, past: Past | None = None, keep: Keep | None = None) -> Packing:
    """The packing of a row.

    Args:
        positions: of the row's tokens in their texts, ``(row,)``.
        ends: the place of the row behind the last token that may see each, ``(row,)``.
    """
    before = 0 if past is None else past.length
    places = np.concatenate([np.arange(before), positions])
    until = np.concatenate([np.full(before, before + len(ends)), before + np.asarray(ends)])
    found = tiles(until, before)
    return Packing(torch.from_numpy(places).to(device), torch.from_numpy(until).to(device), found, past, keep)


def tiles(ends: Numbers, before: int = 0) -> tuple[Tile, ...]:
    """The tiles of a row: short texts side by side in one, long ones in several.

    Args:
        ends: as in :class:`Packing`.
        before: places that have no queries.
    """
    found = []
    start = before
    open_at = _open(ends)
    while start < len(ends):
        stop = _cut(open_at, start, len(ends))
        spans = (*_runs(np.flatnonzero(ends[:start] > start)), (start, stop))
        found.append(Tile(start - before, stop - before, _joined(spans)))
        start = stop
    return tuple(found)


def _open(ends: Numbers) -> Numbers:
    """For every place how many tokens before it are seen from there on: what a tile that begins there looks back at."""
    changes = np.zeros(len(ends) + 1, dtype=np.int64)
    np.add.at(changes, np.minimum(np.arange(1, len(ends) + 1), ends), 1)
    np.add.at(changes, ends, -1)
    return np.cumsum(changes)


def _cut(open_at: Numbers, start: int, end: int) -> int:
    """Where a tile that begins at ``start`` ends: after a text, where that is not too soon."""
    limit = min(start + _TILE, end)
    if limit == end:
        return end
    # Within a text ever more is looked back at; behind one it is less again.
    places = np.arange(start + 1, limit + 1)
    behind = places[open_at[places] <= open_at[places - 1]]
    if not len(behind):
        return limit
    least = open_at[behind].min()
    return int(behind[open_at[behind] == least][-1])


def _runs(places: Numbers) -> list[tuple[int, int]]:
    """Ranges of places that follow one another."""
    if not len(places):
        return []
    breaks = np.flatnonzero(np.diff(places) > 1)
    starts, stops = places[[0, *(breaks + 1)]], places[[*breaks, len(places) - 1]] + 1
    return [(int(start), int(stop)) for start, stop in zip(starts, stops, strict=True)]


def _joined(spans: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Ranges, those that touch made one."""
    joined = [spans[0]]
    for start, stop in spans[1:]:
        if start == joined[-1][1]:
            joined[-1] = (joined[-1][0], stop)
        else:
            joined.append((start, stop))
    return tuple(joined)
