"""What one process does of what all have to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fairtune.data import Encoded, divide
from fairtune.models.rows import AT_ONCE, Batching


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
    """The parts of one of several processes. As many examples at once as memory should hold.

    Args:
        even: as many parts as whoever has most. Whoever has less computes the shortest example for nothing.
    """
    for start in range(0, len(examples), AT_ONCE):
        here = [examples[row] for row in range(start, min(start + AT_ONCE, len(examples)))]
        # By what is left when a shared beginning is computed once.
        costs = [item.needed - (item.sharable if batching.packed and batching.share else 0) for item in here]
        shares = [[here[row] for row in rows] for rows in divide(costs, ranks)]
        yield from cut(shares[rank], batching)
        if even:
            counts = [sum(1 for _ in batching.cut(share)) for share in shares]
            shortest = min(here, key=lambda item: item.needed)
            for _ in range(max(counts) - counts[rank]):
                yield Part([shortest], 0, 0, 0)
