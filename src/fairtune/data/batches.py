"""Which examples make an update, and how an update is divided among processes and cut into micro-batches."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
import numpy.typing as npt


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
    """Positions within the update, and the padded shape ``(len(rows), length)``."""

    rows: tuple[int, ...]
    length: int


def micro_batches(lengths: Sequence[int], token_budget: int, max_rows: int | None = None) -> list[MicroBatch]:
    """Rows of similar length together, none padded beyond ``token_budget`` tokens (one long row may exceed it).

    Longest first, so that memory peaks in the first micro-batch rather than after an hour.
    """
    order = sorted(range(len(lengths)), key=lambda row: (-lengths[row], row))
    batches: list[MicroBatch] = []
    start = 0
    while start < len(order):
        longest = lengths[order[start]]
        rows = max(1, min(token_budget // max(longest, 1), max_rows or len(order)))
        batches.append(MicroBatch(tuple(order[start : start + rows]), longest))
        start += rows
    return batches


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
