"""What one process does of what all have to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fairtune.data import Encoded, divide, lengths_of, micro_batches


@dataclass(frozen=True)
class Part:
    """A micro-batch of this process: one forward pass.

    ``padded`` are the tokens computed, padding included. A part of weight 0 is a stand-in: it is computed and
    counts nothing.
    """

    examples: list[Encoded]
    padded: int
    weight: int = 1


def cut(examples: Sequence[Encoded], rows: Sequence[int], budget: int) -> Iterator[Part]:
    """The rows in micro-batches of at most ``budget`` tokens."""
    return _cut(examples, rows, lengths_of(examples), budget)


def divided(examples: Sequence[Encoded], ranks: int, rank: int, budget: int, even: bool) -> Iterator[Part]:
    """The parts of one of several processes.

    Args:
        even: as many parts as whoever has most. Whoever has less computes the shortest example for nothing.
    """
    lengths = lengths_of(examples)
    shares = divide(lengths, ranks)
    yield from _cut(examples, shares[rank], lengths, budget)
    if even:
        counts = [len(micro_batches([lengths[row] for row in share], budget)) for share in shares]
        shortest = examples[min(range(len(lengths)), key=lengths.__getitem__)]
        for _ in range(max(counts) - counts[rank]):
            yield Part([shortest], 0, 0)


def _cut(examples: Sequence[Encoded], rows: Sequence[int], lengths: Sequence[int], budget: int) -> Iterator[Part]:
    for micro in micro_batches([lengths[row] for row in rows], budget):
        chosen = [examples[rows[position]] for position in micro.rows]
        yield Part(chosen, len(chosen) * micro.length)
