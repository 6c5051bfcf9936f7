"""95 % intervals of a score, over the items of a test set.

A score is ``aggregate(sum of per-item statistics)``, so a resampled test set is a weighted sum of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

Floats = npt.NDArray[np.float64]
Aggregate = Callable[[Any], Any]
"""``(..., k)`` sums to ``(...)`` values."""

REPLICATES = 2000
_CHUNK = 100  # replicates at a time: 100 × 10,000 items are 8 MB


@dataclass(frozen=True)
class Interval:
    """Ends of an interval and how they were found."""

    low: float
    high: float
    method: str


def value_of(statistics: Floats, aggregate: Aggregate) -> float:
    """Score of runs ``(runs, items, k)``: the mean of each run's score over the same items."""
    return float(np.mean(aggregate(statistics.sum(axis=1))))


def bootstrap_interval(statistics: Floats, aggregate: Aggregate, seed: int = 0, level: float = 0.95) -> Interval:
    """Percentile bootstrap over items (Efron 1979), all runs resampled together.

    Args:
        statistics: ``(runs, items, k)``; several runs are the seeds of one method, and the score is their mean.
            The interval then speaks of these seeds and other items, not of other seeds.
    """
    values = np.concatenate(
        [_means(aggregate(weighted_sums(statistics, weights))) for weights in resamples(statistics.shape[1], seed)]
    )
    low, high = percentiles(values, level)
    return Interval(low, high, f"percentile bootstrap over items, {REPLICATES} replicates, seed {seed}")


def wilson_interval(share: float, items: int, level: float = 0.95) -> Interval:
    """Interval of a proportion (Wilson 1927): honest at 0 % and 100 %, where a bootstrap has no width."""
    z = float(ndtri(0.5 + level / 2))
    centre = (share + z**2 / (2 * items)) / (1 + z**2 / items)
    half = z / (1 + z**2 / items) * np.sqrt(share * (1 - share) / items + z**2 / (4 * items**2))
    return Interval(max(0.0, float(centre - half)), min(1.0, float(centre + half)), "Wilson score interval")


def resamples(items: int, seed: int) -> Iterator[Floats]:
    """Chunks ``(replicates, items)`` of how often each item is drawn; the same for the same number of items."""
    random = np.random.default_rng(seed)
    for start in range(0, REPLICATES, _CHUNK):
        draws = random.multinomial(items, np.full(items, 1 / items), size=min(_CHUNK, REPLICATES - start))
        yield draws.astype(np.float64)


def weighted_sums(statistics: Floats, weights: Floats) -> Floats:
    """``(runs, items, k)`` and ``(replicates, items)`` to ``(runs, replicates, k)``."""
    sums: Floats = np.einsum("bn,rnk->rbk", weights, statistics, optimize=True)
    return sums


def percentiles(values: Floats, level: float) -> tuple[float, float]:
    """The central ``level`` of the values."""
    tail = 100 * (1 - level) / 2
    low, high = np.percentile(values, [tail, 100 - tail])
    return float(low), float(high)


def _means(values: Any) -> Floats:
    mean: Floats = np.mean(values, axis=0)
    return mean
