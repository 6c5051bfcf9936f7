"""Which examples make an update, and how an update is cut into micro-batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


def updates(examples: int, batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Indices of the examples of each update in one epoch.

    Decided by the seed and the epoch alone: every method sees the same examples in the same order. The last
    update may be smaller; no example is dropped or repeated.
    """
    order = np.random.default_rng([seed, epoch]).permutation(examples).tolist()
    return [order[start : start + batch_size] for start in range(0, examples, batch_size)]


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
