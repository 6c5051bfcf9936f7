"""Intervals, paired tests, many comparisons. numpy and scipy only."""

from fairtune.stats.estimate import NO_INTERVAL, Estimate, estimate
from fairtune.stats.intervals import (
    REPLICATES,
    Aggregate,
    Floats,
    Interval,
    bootstrap_interval,
    value_of,
    wilson_interval,
)
from fairtune.stats.multiplicity import holm
from fairtune.stats.paired import Difference, paired_difference

__all__ = [
    "NO_INTERVAL",
    "REPLICATES",
    "Aggregate",
    "Difference",
    "Estimate",
    "Floats",
    "Interval",
    "bootstrap_interval",
    "estimate",
    "holm",
    "paired_difference",
    "value_of",
    "wilson_interval",
]
