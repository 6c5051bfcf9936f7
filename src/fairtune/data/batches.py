"""Which examples make an update, and how an update is divided among processes and cut into micro-batches."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias, overload

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

    In the order of their tokens, so that neighbours share the longest beginnings; cut into packs of like size. A
    budget that is a quarter larger is used where that saves a tenth: a beginning is computed once a pack.

    Args:
        share: what all texts of a pack begin with is computed once.
    """
    order = sorted(range(len(batch)), key=lambda row: (batch[row].tokens, row))
    beginnings = _beginnings(batch, order, share)
    lengths = [batch[row].needed for row in order]
    found, larger = (_evenly(lengths, beginnings, limit) for limit in (token_budget, token_budget * 5 // 4))
    if sum(pack.computed for pack in larger) < 0.9 * sum(pack.computed for pack in found):
        found = larger
    return [MicroBatch(tuple(order[place] for place in pack.rows), pack.computed) for pack in found]


def _evenly(lengths: Sequence[int], beginnings: Sequence[tuple[int, int]], limit: int) -> list[MicroBatch]:
    """As few packs as the limit allows, and the largest of them as small as so few can be."""
    found = _filled(lengths, beginnings, limit)
    low, high = 0, limit
    while high - low > limit // 32 + 1:
        middle = (low + high) // 2
        tried = _filled(lengths, beginnings, middle)
        if len(tried) > len(found):
            low = middle
        else:
            found, high = tried, middle
    return found


def _filled(lengths: Sequence[int], beginnings: Sequence[tuple[int, int]], limit: int) -> list[MicroBatch]:
    """One pack after the other, each as full as the limit allows."""
    found: list[MicroBatch] = []
    start = total = shared = computed = 0
    for place, (length, (own, common)) in enumerate(zip(lengths, beginnings, strict=True)):
        both = min(shared, own, common)
        grown = total + length - both * (place - start)
        if place > start and grown > limit:
            found.append(MicroBatch(tuple(range(start, place)), computed))
            start, total = place, 0
        total, shared = total + length, both if place > start else own
        computed = total - shared * (place - start)
    return [*found, MicroBatch(tuple(range(start, len(lengths))), computed)]


def _beginnings(batch: Sequence[Encoded], order: Sequence[int], share: bool) -> list[tuple[int, int]]:
    """Of every text how much others may share, and how much it has in common with the one before it in the order."""
    if not share:
        return [(0, 0)] * len(order)
    texts = [batch[row] for row in order]
    pairs = itertools.pairwise([texts[0], *texts])
    return [
        (item.sharable, common_beginning(before.tokens, item.tokens, min(before.sharable, item.sharable)))
        for before, item in pairs
    ]


def shared_beginning(batch: Sequence[Encoded]) -> int:
    """Tokens that all texts begin with, and that can be computed once.

    Each text keeps the token that predicts its first supervised one.
    """
    shared = min(item.sharable for item in batch)
    # In the order of their tokens, the first and the last differ earliest.
    first, last = min(item.tokens for item in batch), max(item.tokens for item in batch)
    return common_beginning(first, last, shared)


Tokens: TypeAlias = "Sequence[int] | npt.NDArray[np.int64]"


def common_beginning(one: Tokens, other: Tokens, limit: int | None = None) -> int:
    """How many of the first tokens, at most ``limit``, are the same."""
    length = min(len(one), len(other)) if limit is None else limit
    differ = np.flatnonzero(np.asarray(one[:length]) != np.asarray(other[:length]))
    return int(differ[0]) if len(differ) else length


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
