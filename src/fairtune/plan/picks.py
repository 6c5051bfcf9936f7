"""Which passes of a run are worth simulating: the largest decides the memory, the usual one the time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from fairtune.data import Encoded, updates
from fairtune.models.rows import Batching
from fairtune.train.parallel.parts import Part, divided

# Updates of an epoch that are looked at, besides those with the longest texts.
_UPDATES, _LONGEST = 48, 16


@dataclass(frozen=True)
class Picked:
    """Passes of a run.

    Attributes:
        typical: one of the usual size.
        largest: the one that takes most memory.
        behind: whether the largest comes behind another of the same update, whose gradients are there already.
        tokens: computed in each pass that was looked at.
        share: of all passes, how large a part was looked at.
    """

    typical: Part
    largest: Part
    behind: bool
    tokens: tuple[int, ...] = field(repr=False)
    share: float = 1.0

    @property
    def alike(self) -> bool:
        """Whether the usual pass is nearly as large as the largest."""
        return self.typical.computed >= 0.9 * self.largest.computed

    @property
    def passes(self) -> float:
        """How many there are in all."""
        return len(self.tokens) / self.share


def pick_training(examples: Sequence[Encoded], batch_size: int, seed: int, batching: Batching, ranks: int) -> Picked:
    """Of the passes of an epoch, as one of ``ranks`` processes makes them."""
    order = updates(len(examples), batch_size, seed, 0)
    chosen = _looked_at(examples, order, seed)
    cut = [_parts([examples[row] for row in order[index]], batching, ranks) for index in chosen]
    first, later = [parts[0] for parts in cut if parts], [part for parts in cut for part in parts[1:]]
    largest_first, largest_later = max(first, key=_size), max(later, key=_size, default=None)
    behind = largest_later is not None and _size(largest_later)[0] >= 0.9 * _size(largest_first)[0]
    largest = largest_later if behind and largest_later is not None else largest_first
    every = [*first, *later]
    tokens = tuple(part.computed for part in every)
    return Picked(_median(every), largest, behind, tokens, len(chosen) / len(order))


def pick_scoring(examples: Sequence[Encoded], batching: Batching) -> Picked:
    """Of the passes that score a part of the data, all of which are looked at."""
    parts = [
        Part([examples[row] for row in micro.rows], micro.computed, micro.padding) for micro in batching.cut(examples)
    ]
    return Picked(_median(parts), max(parts, key=_size), False, tuple(part.computed for part in parts))


def _looked_at(examples: Sequence[Encoded], order: Sequence[Sequence[int]], seed: int) -> list[int]:
    """Updates all over the epoch, and those that hold the longest texts."""
    lengths = (
        np.array([len(item.tokens) for item in examples]) if not hasattr(examples, "lengths") else examples.lengths
    )
    longest = set(np.argsort(-lengths, kind="stable")[:_LONGEST].tolist())
    spread = np.linspace(0, len(order) - 1, min(_UPDATES, len(order))).astype(int).tolist()
    with_longest = [index for index, rows in enumerate(order) if longest.intersection(rows)]
    return sorted({*spread, *with_longest})


def _parts(batch: Sequence[Encoded], batching: Batching, ranks: int) -> list[Part]:
    shares: Iterator[list[Part]] = (list(divided(batch, ranks, rank, batching, even=False)) for rank in range(ranks))
    return max(shares, key=lambda parts: max((_size(part) for part in parts), default=(0, 0)))


def _size(part: Part) -> tuple[int, int]:
    return part.computed, sum(item.answer_tokens for item in part.examples)


def _median(parts: Sequence[Part]) -> Part:
    return sorted(parts, key=_size)[len(parts) // 2]
