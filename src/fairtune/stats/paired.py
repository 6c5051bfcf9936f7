"""The difference of two methods, paired item by item."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fairtune.stats.intervals import REPLICATES, Aggregate, Floats, percentiles, resamples, weighted_sums


@dataclass(frozen=True)
class Difference:
    """``a`` minus ``b``, its 95 % interval, and the p-value of "no difference" (two-sided)."""

    difference: float
    low: float
    high: float
    p: float
    n: int


def paired_difference(a: Floats, b: Floats, aggregate: Aggregate, seed: int = 0, level: float = 0.95) -> Difference:
    """Compares the mean score of runs ``a`` with that of runs ``b`` on the same items.

    The interval is a paired bootstrap: each replicate draws items once for both sides. The p-value is approximate
    randomisation (Noreen 1989; for BLEU Riezler & Maxwell 2005): on each item the two sides are swapped at random.

    Args:
        a: ``(runs, items, k)`` statistics; runs are seeds of one method.
        b: the same with its own number of runs. Runs are paired in order where the numbers agree, and otherwise
            every run of ``a`` meets every run of ``b``.

    Raises:
        ValueError: the items differ in number.
    """
    if a.shape[1:] != b.shape[1:]:
        raise ValueError(f"items and statistics differ: {a.shape[1:]} and {b.shape[1:]}")
    ours, theirs = _matched(a, b)
    observed = _difference(aggregate, ours.sum(axis=1)[:, None], theirs.sum(axis=1)[:, None])[0]
    resampled = [
        _difference(aggregate, weighted_sums(ours, weights), weighted_sums(theirs, weights))
        for weights in resamples(a.shape[1], seed)
    ]
    low, high = percentiles(np.concatenate(resampled), level)
    return Difference(float(observed), low, high, _randomisation(ours, theirs, aggregate, observed, seed), a.shape[1])


def _matched(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    if len(a) == len(b):
        return a, b
    return np.repeat(a, len(b), axis=0), np.tile(b, (len(a), 1, 1))


def _difference(aggregate: Aggregate, ours: Floats, theirs: Floats) -> Floats:
    """``(runs, replicates, k)`` sums of both sides to ``(replicates,)`` mean differences."""
    values: Floats = np.mean(aggregate(ours) - aggregate(theirs), axis=0)
    return values


def _randomisation(ours: Floats, theirs: Floats, aggregate: Aggregate, observed: float, seed: int) -> float:
    random = np.random.default_rng([seed, 1])
    gap = theirs - ours
    all_ours, all_theirs = ours.sum(axis=1)[:, None], theirs.sum(axis=1)[:, None]
    # Rounding must not make the observed arrangement look rarer than it is.
    bar = abs(observed) * (1 - 1e-9) - 1e-12
    extreme = 0
    for _ in range(REPLICATES // 100):
        swaps = random.integers(0, 2, size=(100, ours.shape[1])).astype(np.float64)
        moved = weighted_sums(gap, swaps)
        extreme += int(np.sum(np.abs(_difference(aggregate, all_ours + moved, all_theirs - moved)) >= bar))
    return (1 + extreme) / (1 + REPLICATES)
