"""A score and its interval, by the way that suits the score."""

from __future__ import annotations

from dataclasses import dataclass

from fairtune.stats.intervals import Aggregate, Floats, bootstrap_interval, value_of, wilson_interval


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval, and how that was found."""

    value: float
    low: float
    high: float
    method: str


def estimate(statistics: Floats, aggregate: Aggregate, proportion: bool) -> Estimate:
    """The mean score of runs over the same items.

    Args:
        statistics: ``(runs, items, k)``.
        proportion: the score is a share of items; Wilson's interval then holds where a bootstrap has no width. For
            the mean of several runs the number of items is still that of one test set: they are the same items.
    """
    value = value_of(statistics, aggregate)
    items = statistics.shape[1]
    interval = wilson_interval(value, items) if proportion else bootstrap_interval(statistics, aggregate)
    return Estimate(value, interval.low, interval.high, interval.method)
