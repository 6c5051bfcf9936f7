"""What one process does of what all have to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fairtune.data import Encoded, divide, lengths_of
from fairtune.models.rows import Batching


@dataclass(frozen=True)
class Part:
    """A micro-batch of this process: one forward pass, over ``computed`` tokens, ``padding`` among them.

    A part of weight 0 is a stand-in: it is computed and counts nothing.
    """

    examples: list[Encoded]
    computed: int
    padding: int
    weight: int = 1


def cut(examples: Sequence[Encoded], batching: Batching) -> Iterator[Part]:
    """The examples in micro-batches."""
    for micro in batching.cut(examples):
        yield Part([examples[row] for row in micro.rows], micro.computed, micro.padding)


def divided(examples: Sequence[Encoded], ranks: int, rank: int, batching: Batching, even: bool) -> Iterator[Part]:
    """The parts of one of several processes.

    Args:
        even: as many parts as whoever has most. Whoever has less computes the shortest example for nothing.
    """
    lengths = lengths_of(examples)
    shares = [[examples[row] for row in rows] for rows in divide(lengths, ranks)]
    yield from cut(shares[rank], batching)
    if even:
        counts = [sum(1 for _ in batching.cut(share)) for share in shares]
        shortest = examples[min(range(len(lengths)), key=lengths.__getitem__)]
        for _ in range(max(counts) - counts[rank]):
            yield Part([shortest], 0, 0, 0)
