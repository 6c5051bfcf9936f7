"""Which examples are varied, how often, and what of it is kept. The same for every kind, on text or on tokens."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from random import Random
from typing import Generic, TypeVar

from fairtune.data.examples import digest

TRIES = 10
"""Drafts of one variant before it is given up."""

T = TypeVar("T")


@dataclass(frozen=True)
class Added(Generic[T]):
    """What was added.

    Attributes:
        items: sorted by the ids of their originals, so that the order of a file changes nothing.
        not_made: variants that were asked for, and of which no draft was new.
        held_out: drafts thrown away since they ask what a validation or test example asks.
    """

    items: tuple[T, ...]
    not_made: int
    held_out: int


def quota(ids: Collection[str], ratio: float, seed: int) -> dict[str, int]:
    """Variants of each example: ``round(ratio × examples)`` in all.

    The same number of each where it comes out even; the rest go to the smallest hashes of seed and id.
    """
    every, more = divmod(round(ratio * len(ids)), max(1, len(ids)))
    lucky = set(sorted(ids, key=lambda name: digest(f"{seed}\n{name}"))[:more])
    counts = {name: every + (name in lucky) for name in sorted(ids)}
    return {name: count for name, count in counts.items() if count}


def fill(
    items: Mapping[str, T],
    counts: Mapping[str, int],
    seed: int,
    draft: Callable[[T, Random], T],
    key: Callable[[T], str],
    held_out: Collection[str],
) -> Added[T]:
    """Makes the variants.

    Every draw depends on the seed, the original's id and the variant's number, never on what else there is: all
    methods and models of a study are given the same. A draft is kept if it asks what neither an original, nor another
    variant, nor a held-out example asks.

    Args:
        items: all originals, by id.
        counts: how many variants of which, from :func:`quota`.
        key: what an item asks, folded.
        held_out: keys of validation and test.
    """
    taken = {key(item) for item in items.values()}
    made: list[T] = []
    met = missed = 0
    for name, count in sorted(counts.items()):
        for variant in range(count):
            draw = Random(f"{seed}\n{name}\n{variant}")  # noqa: S311 - no secret
            found, refused = _first_new(items[name], draw, draft, key, taken, held_out)
            met += refused
            missed += not found
            made += found
            taken.update(map(key, found))
    return Added(tuple(made), missed, met)


def _first_new(
    item: T,
    draw: Random,
    draft: Callable[[T, Random], T],
    key: Callable[[T], str],
    taken: Collection[str],
    held_out: Collection[str],
) -> tuple[list[T], int]:
    """The first draft that is new, or nothing, and how many drafts were refused for a held-out example."""
    refused = 0
    for _ in range(TRIES):
        found = draft(item, draw)
        asks = key(found)
        if asks in held_out:
            refused += 1
        elif asks not in taken:
            return [found], refused
    return [], refused
