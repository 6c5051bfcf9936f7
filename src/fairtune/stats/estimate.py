"""A score and its interval, by the way that suits the score."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fairtune.stats.intervals import Aggregate, Floats, bootstrap_interval, value_of, wilson_interval

NO_INTERVAL = "none"
"""The method of an estimate that has a value alone, or nothing."""

_FEWEST = 2


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval, and how that was found."""

    value: float | None
    low: float | None
    high: float | None
    method: str
    reason: str | None = None
    """Why a number is missing."""


def estimate(statistics: Floats, aggregate: Aggregate, proportion: bool) -> Estimate:
    """The mean score of runs over the same items.

    Args:
        statistics: ``(runs, items, k)``.
        proportion: the score is a share of items; Wilson's interval then holds where a bootstrap has no width. For
            the mean of several runs the number of items is still that of one test set: they are the same items.
    """
    value = value_of(statistics, aggregate)
    items = statistics.shape[1]
    if not math.isfinite(value):
        return Estimate(None, None, None, NO_INTERVAL, f"the value is {value}")
    if items < _FEWEST:
        return Estimate(value, None, None, NO_INTERVAL, f"{items} item says nothing about others")
    interval = wilson_interval(value, items) if proportion else bootstrap_interval(statistics, aggregate)
    if not (math.isfinite(interval.low) and math.isfinite(interval.high)):
        return Estimate(value, None, None, interval.method, "an end of the interval is not finite")
    if interval.low == interval.high:
        return Estimate(value, None, None, interval.method, "every resample of the items gives the same value")
    return Estimate(value, interval.low, interval.high, interval.method)
