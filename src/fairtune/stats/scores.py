"""What runs scored on the same items, and what of it every interval and test is made of.

A score is ``aggregate(sum of per-item statistics)``: a mean, a ratio, BLEU, a macro F1. So a resampled test set is a
weighted sum of rows, and a score without one item is the aggregate of a sum without one row.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Clusters = npt.NDArray[np.str_]
FEWEST_CLUSTERS = 10
"""Of fewer, nobody could say how much they differ: items then stand for themselves."""
Aggregate = Callable[[Any], Any]
"""``(..., k)`` sums to ``(...)`` values."""


def clusters_of(names: Sequence[str | None]) -> Clusters | None:
    """What items belong to, if that says something: every item has a name, and there are ten different at least."""
    different = set(names)
    if None in different or not FEWEST_CLUSTERS <= len(different) < len(names):
        return None
    return np.array(names, dtype=np.str_)


def _ratio(sums: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        value: Floats = sums[..., 0] / sums[..., 1]
    return value


@dataclass(frozen=True, eq=False)
class Scores:
    """Runs of one method over the same items.

    Args:
        statistics: ``(runs, items, k)``; several runs differ in their seed alone, and the score is the mean of theirs.
        aggregate: makes a score of summed statistics.
        proportion: whether each run's score is a share of items.
        clusters: ``(items,)`` names of what items belong to, where those of one cluster are not independent: windows
            of one document, questions about one text. None where every item stands for itself.
    """

    statistics: Floats
    aggregate: Aggregate
    proportion: bool = False
    clusters: Clusters | None = None

    @property
    def runs(self) -> int:
        """How many runs there are."""
        return int(self.statistics.shape[0])

    @property
    def items(self) -> int:
        """How many items there are."""
        return int(self.statistics.shape[1])

    @functools.cached_property
    def units(self) -> Floats:
        """``(runs, units, k)``: what is drawn and swapped as a whole: items, or the sums of clusters."""
        if self.clusters is None:
            return self.statistics
        order = np.argsort(self.clusters, kind="stable")
        _, starts = np.unique(self.clusters[order], return_index=True)
        sums: Floats = np.add.reduceat(self.statistics[:, order], starts, axis=1)
        return sums

    @functools.cached_property
    def sums(self) -> Floats:
        """``(runs, k)`` over all items."""
        total: Floats = self.statistics.sum(axis=1)
        return total

    @functools.cached_property
    def values(self) -> Floats:
        """``(runs,)`` scores."""
        values: Floats = np.asarray(self.aggregate(self.sums), dtype=np.float64)
        return values

    @property
    def value(self) -> float:
        """The mean of the runs' scores."""
        return float(np.mean(self.values))

    @functools.cached_property
    def left_out(self) -> Floats:
        """``(runs, units)`` scores without one unit."""
        values: Floats = np.asarray(self.aggregate(self.sums[:, None] - self.units), dtype=np.float64)
        return values

    @functools.cached_property
    def pseudo_values(self) -> Floats:
        """``(runs, units)``: what each unit adds to the score (Tukey 1958); of a plain mean, the items themselves.

        Their mean is the score but for the jackknife's correction of its bias, their spread that of the score.
        """
        units = self.units.shape[1]
        values: Floats = units * self.values[:, None] - (units - 1) * self.left_out
        return values

    @functools.cached_property
    def is_mean(self) -> bool:
        """Whether the score is the plain mean of what its items score by themselves."""
        if self.statistics.shape[2] != 2:
            return False
        weight = self.statistics[..., 1]
        if not (weight == weight.flat[0]).all() or weight.flat[0] <= 0:
            return False
        plain = self.statistics[..., 0] / weight
        return np.allclose(self.item_values, plain) and np.allclose(self.values, plain.mean(axis=1))

    @functools.cached_property
    def is_binary(self) -> bool:
        """Whether every item of every run is right or wrong."""
        return self.proportion and self.is_mean and bool(np.isin(self.item_values, (0.0, 1.0)).all())

    @functools.cached_property
    def item_values(self) -> Floats:
        """``(runs, items)`` scores of each item by itself."""
        values: Floats = np.asarray(self.aggregate(self.statistics), dtype=np.float64)
        return values

    @functools.cached_property
    def inner(self) -> Scores:
        """The same runs on the scale of their ratios, where the score is a function of that alone: of perplexity, nats.

        Scores are equal where these are, and a few items far from the rest weigh less.
        """
        if self.statistics.shape[2] != 2 or (self.sums[:, 1] == 0).any():
            return self
        alone = np.stack([self.sums[:, 0] / self.sums[:, 1], np.ones(self.runs)], axis=-1)
        if not np.allclose(self.aggregate(alone), self.values, rtol=1e-9, atol=1e-12):
            return self
        return Scores(self.statistics, _ratio, self.proportion, self.clusters)

    def as_ratio(self) -> Floats | None:
        """``(units, 2)``: a value and a weight of each unit, where the score is a function of their ratio alone.

        So it is for means, perplexity, rates per word. Several runs are one where their mean is that of the items'
        means.
        """
        if self.statistics.shape[2] != 2 or (self.runs > 1 and not self.is_mean):
            return None
        both: Floats = self.units.mean(axis=0)
        total = both.sum(axis=0)
        if total[1] == 0 or not np.isfinite(total).all():
            return None
        alone = self.aggregate(np.array([total[0] / total[1], 1.0]))
        return both if np.isclose(alone, self.aggregate(total), rtol=1e-9, atol=1e-12) else None
