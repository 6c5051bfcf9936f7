"""Which examples make an update, and how an update is divided among processes and cut into micro-batches."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
import numpy.typing as npt

from fairtune.data.encode import Encoded


class Updates(Sequence[list[int]]):
    """An epoch's updates, each the indices of its examples; the order lies in one array ``(examples,)``."""

    def __init__(self, order: npt.NDArray[np.int64], batch_size: int) -> None:
        self._order, self._size = order, batch_size

    @overload
    def __getitem__(self, index: int) -> list[int]: ...

    @overload
    def __getitem__(self, index: slice) -> list[list[int]]: ...

    def __getitem__(self, index: int | slice) -> list[int] | list[list[int]]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        start = (index % len(self)) * self._size
        rows: list[int] = self._order[start : start + self._size].tolist()
        return rows

    def __len__(self) -> int:
        return math.ceil(len(self._order) / self._size)


def updates(examples: int, batch_size: int, seed: int, epoch: int) -> Updates:
    """Indices of the examples of each update in one epoch.

    Decided by the seed and the epoch alone: every method sees the same examples in the same order. The last
    update may be smaller; no example is dropped or repeated.
    """
    return Updates(np.random.default_rng([seed, epoch]).permutation(examples), batch_size)


@dataclass(frozen=True)
class MicroBatch:
    """Positions within the update, and the tokens that the network then computes, ``padding`` of them for nothing."""

    rows: tuple[int, ...]
    computed: int
    padding: int = 0


def micro_batches(lengths: Sequence[int], token_budget: int, max_rows: int | None = None) -> list[MicroBatch]:
    """Rows of similar length together, none padded beyond ``token_budget`` tokens (one long row may exceed it).

    Longest first, so that memory peaks in the first micro-batch rather than after an hour.
    """
    order = sorted(range(len(lengths)), key=lambda row: (-lengths[row], row))
    batches: list[MicroBatch] = []
    start = 0
    while start < len(order):
        longest = lengths[order[start]]
        count = max(1, min(token_budget // max(longest, 1), max_rows or len(order)))
        rows = tuple(order[start : start + count])
        computed = longest * len(rows)
        batches.append(MicroBatch(rows, computed, computed - sum(lengths[row] for row in rows)))
        start += count
    return batches


def packs(batch: Sequence[Encoded], token_budget: int, share: bool) -> list[MicroBatch]:
    """Texts to be laid end to end, at most ``token_budget`` tokens together (one long text may exceed it).

    In the order of their tokens, so that neighbours share the longest beginnings; cut into packs of like size.

    Args:
        share: what all texts of a pack begin with is computed once.
    """
    order = sorted(range(len(batch)), key=lambda row: (batch[row].tokens, row))
    limits = [item.sharable if share else 0 for item in batch]
    total = _computed(batch, order, limits)
    target = total / max(1, math.ceil(total / token_budget))
    found: list[MicroBatch] = []
    pack = _Pack()
    for row in order:
        grown = pack.with_row(row, batch, limits[row])
        if pack.rows and (grown.computed > token_budget or (grown.computed + pack.computed) / 2 > target):
            found.append(MicroBatch(pack.rows, pack.computed))
            grown = _Pack().with_row(row, batch, limits[row])
        pack = grown
    return [*found, MicroBatch(pack.rows, pack.computed)]


def shared_beginning(batch: Sequence[Encoded]) -> int:
    """Tokens that all texts begin with, and that can be computed once.

    Each text keeps the token that predicts its first supervised one.
    """
    shared = min(item.sharable for item in batch)
    # In the order of their tokens, the first and the last differ earliest.
    first, last = min(item.tokens for item in batch), max(item.tokens for item in batch)
    return _common(first, last, shared)


@dataclass(frozen=True)
class _Pack:
    """Texts in the order of their tokens, the first ``shared`` of which they have in common."""

    rows: tuple[int, ...] = ()
    shared: int = 0
    total: int = 0

    @property
    def computed(self) -> int:
        return self.total - self.shared * (len(self.rows) - 1)

    def with_row(self, row: int, batch: Sequence[Encoded], limit: int) -> _Pack:
        tokens = batch[row].tokens
        shared = _common(batch[self.rows[-1]].tokens, tokens, min(self.shared, limit)) if self.rows else limit
        return _Pack((*self.rows, row), shared, self.total + batch[row].needed)


def _computed(batch: Sequence[Encoded], order: Sequence[int], limits: Sequence[int]) -> int:
    """Tokens of all texts as one pack."""
    pack = _Pack()
    for row in order:
        pack = pack.with_row(row, batch, limits[row])
    return pack.computed


def _common(one: Sequence[int], other: Sequence[int], limit: int) -> int:
    """How many of the first ``limit`` tokens are the same, from the start."""
    if one[:limit] == other[:limit]:
        return limit
    return next(place for place in range(limit) if one[place] != other[place])


def divide(lengths: Sequence[int], ranks: int) -> list[list[int]]:
    """Rows for each of ``ranks`` processes, about as many tokens each; every row once, none twice.

    The longest goes first, each to whoever has least so far (Graham 1969). Decided by the lengths alone, so
    every process finds the same by itself. Where there are fewer rows than processes, some have none.
    """
    shares: list[list[int]] = [[] for _ in range(ranks)]
    least = [(0, rank) for rank in range(ranks)]
    for row in sorted(range(len(lengths)), key=lambda row: (-lengths[row], row)):
        tokens, rank = heapq.heappop(least)
        shares[rank].append(row)
        heapq.heappush(least, (tokens + lengths[row], rank))
    return [sorted(share) for share in shares]
