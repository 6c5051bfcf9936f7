"""A score and its interval."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fairtune.stats.intervals import Interval, interval_of
from fairtune.stats.scores import Scores
from fairtune.stats.seeds import Spread, spread_of

NO_INTERVAL = "none"
"""The method of an estimate that has a value alone, or nothing."""

ENOUGH_SEEDS = 3
"""Of which the spread says something of others."""
_FEWEST = 2
_NOTHING = 1e-9
"""Of a value, what rounding leaves of a width that is none."""


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval, and how that was found."""

    value: float | None
    low: float | None
    high: float | None
    method: str
    reason: str | None = None
    """Why a number is missing."""


def estimate(scores: Scores, seeded: bool = False) -> Estimate:
    """The mean score of runs over the same items.

    Args:
        seeded: the runs are seeds of a method, and the interval is to speak of other seeds too. It does for three
            runs or more: from two, an interval would reach beyond all scores that there are.
    """
    value = scores.value
    if not math.isfinite(value):
        return Estimate(None, None, None, NO_INTERVAL, f"the value is {value}")
    units = scores.units.shape[1]
    if units < _FEWEST:
        what = "item" if scores.clusters is None else "cluster of items"
        return Estimate(value, None, None, NO_INTERVAL, f"{units} {what} says nothing about others")
    interval = interval_of(scores)
    if seeded and scores.runs >= ENOUGH_SEEDS:
        interval = with_seeds(interval, value, spread_of(scores.pseudo_values, scores.values, True), scores.proportion)
    if not (math.isfinite(interval.low) and math.isfinite(interval.high)):
        return Estimate(value, None, None, interval.method, "an end of the interval is not finite")
    if interval.high - interval.low <= _NOTHING * max(1.0, abs(value)):
        return Estimate(value, None, None, interval.method, "every resample of the items gives the same value")
    return Estimate(value, interval.low, interval.high, interval.method)


def with_seeds(
    interval: Interval, value: float, spread: Spread, proportion: bool = False, level: float = 0.95
) -> Interval:
    """An interval over items widened for other seeds: each arm grows as the whole margin does (see ``Spread``)."""
    if spread.seeds is None or not np.isfinite([spread.items, spread.seeds]).all():
        return interval
    alone, whole = spread.without_seeds().margin(level), spread.margin(level)
    more = math.sqrt(max(0.0, whole**2 - alone**2))
    low, high = (
        value - math.hypot(value - interval.low, more),
        value + math.hypot(interval.high - value, more),
    )
    if proportion:
        low, high = max(0.0, low), min(1.0, high)
    return Interval(low, high, f"{interval.method}; widened for other seeds (Student's t of {spread.seed_df:.3g} df)")
