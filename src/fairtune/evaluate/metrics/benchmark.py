"""The numbers of benchmarks: what lm-eval's aggregations are as functions of sums over items.

A test holds them equal to lm-eval's own. No lm-eval is needed to make them again from what is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fairtune.evaluate.metrics.protocol import Floats, Metric, Outcome, ratio
from fairtune.study import BenchmarkScore

OTHER = "other"
"""An aggregation that is no function of sums over items: it has a value, and nothing else."""


def _perplexity(sums: Floats) -> Floats:
    value: Floats = np.exp(-ratio(sums))
    return value


def _bits(sums: Floats) -> Floats:
    value: Floats = -ratio(sums) / np.log(2.0)
    return value


# Of lm-eval's aggregations, those that are functions of a summed value and a summed weight.
SUMS: Mapping[str, Callable[[Floats], Floats]] = {
    "mean": ratio,
    "nanmean": ratio,
    "perplexity": _perplexity,
    "weighted_perplexity": _perplexity,
    "bits_per_byte": _bits,
}
# lm-eval itself gives 1 or 0 for these, where a task has no code of its own for its results.
SHARES = {"acc", "acc_norm", "acc_bytes", "acc_mutual_info", "exact_match"}
_UNITS = {"perplexity": "per answer", "weighted_perplexity": "per word or byte", "bits_per_byte": "bits per byte"}


class BenchmarkMetric(Metric):
    """A number of a benchmark, made of a run's spec alone. Without statistics where it is no function of sums."""

    version = 1
    needs = "benchmark"

    def __init__(self, score: BenchmarkScore) -> None:
        self.score = score
        self.name = score.name
        self.higher_is_better = score.higher_is_better
        self.proportion = score.proportion
        self.statistics = () if score.aggregation == OTHER else ("value", "weight")
        self.unit = "share of items" if score.proportion else _UNITS.get(score.aggregation, f"lm-eval's {score.metric}")
        self.description = f"{score.metric} of a benchmark, as lm-eval has it"
        self.formula = f"lm-eval's aggregation: {score.aggregation}"
        self.source = "lm-evaluation-harness"

    def item(self, outcome: Outcome) -> tuple[float, ...]:
        """Not for outcomes of a task: a benchmark brings its own items."""
        raise ValueError(f"{self.name} is a number of a benchmark, not of the task's item {outcome.id}")

    def numbers(self, value: Any) -> tuple[float, ...]:
        """What lm-eval has for an item, as a value and its weight.

        Raises:
            TypeError, ValueError: it is neither a number nor, where weights belong to it, a pair of numbers.
        """
        if self.score.aggregation == OTHER:
            return ()
        value, weight = value if isinstance(value, (tuple, list)) else (value, 1.0)
        if self.score.aggregation == "nanmean" and np.isnan(value):
            return 0.0, 0.0
        return float(value), float(weight)

    def aggregate(self, sums: Floats) -> Floats:
        """``(..., 2)`` sums to ``(...)`` values."""
        return SUMS[self.score.aggregation](sums)
