"""What a comparison could have shown, and what would settle it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from scipy.special import ndtri

from fairtune.stats.seeds import Spread

POWER = 0.8
"""Chance with which a true difference is to be shown (Cohen 1988)."""
_MOST = 10_000_000


@dataclass(frozen=True)
class Needed:
    """What would show a difference with a chance of 80 %, everything else as it is. None: no number would."""

    items: int | None
    seeds: int | None


def smallest_difference(spread: Spread, level: float = 0.05) -> float:
    """The smallest true difference that a test at this level shows with a chance of 80 %."""
    return spread.margin(1 - level) + float(ndtri(POWER)) * math.sqrt(spread.variance)


def needed(spread: Spread, difference: float, level: float = 0.05) -> Needed:
    """How many items, with these seeds, or how many seeds, on these items, a difference of this size needs.

    It takes the difference that was seen for the true one, which is often smaller: numbers are rather too low.
    """
    size = abs(difference)
    items = _least(lambda count: _with_items(spread, count), spread.units, size, level)
    seeds = None
    if spread.seeds is not None:
        now, part = round(spread.seed_df) + 1, spread.seeds
        seeds = _least(lambda count: _with_seeds(spread, part, count, now), now, size, level)
    return Needed(items, seeds)


def _with_items(spread: Spread, units: int) -> Spread:
    """As many units: all that averages out over items shrinks, the seeds' own part stays."""
    share = spread.units / units
    seeds = None if spread.seeds is None else max(0.0, spread.seeds - spread.shared) + spread.shared * share
    return replace(spread, items=spread.items * share, units=units, seeds=seeds, shared=spread.shared * share)


def _with_seeds(spread: Spread, part: float, seeds: int, now: int) -> Spread:
    """As many seeds instead of ``now``, whose part of the variance is ``part``."""
    share, shared = now / seeds, spread.shared * now / seeds
    items = spread.items - spread.shared + shared
    return replace(spread, items=items, seeds=part * share, shared=shared, seed_df=float(seeds - 1))


def _least(make: Callable[[int], Spread], start: int, size: float, level: float) -> int | None:
    """The smallest number from ``start`` on whose spread shows the difference; by doubling, then by halving."""

    def shows(count: int) -> bool:
        return smallest_difference(make(count), level) <= size

    if size == 0:
        return None
    high = start
    while not shows(high):
        high *= 2
        if high > _MOST:
            return None
    low = max(start, high // 2)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if shows(middle) else (middle + 1, high)
    return high
