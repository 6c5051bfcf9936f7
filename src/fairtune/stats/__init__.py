"""Intervals, paired tests, seeds, many comparisons, power, equivalence. numpy and scipy only."""

from fairtune.stats.difference import Claim, Difference, Evidence, difference_of, evidence, interval_between
from fairtune.stats.equivalence import p_equivalent, p_no_worse
from fairtune.stats.estimate import NO_INTERVAL, Estimate, estimate
from fairtune.stats.intervals import (
    REPLICATES,
    Interval,
    bca_interval,
    interval_of,
    studentised_interval,
    t_interval,
    wilson_interval,
)
from fairtune.stats.multiplicity import gated, holm
from fairtune.stats.paired import Tested, mcnemar, randomisation, sign_flips
from fairtune.stats.power import POWER, Needed, needed, smallest_difference
from fairtune.stats.scores import Aggregate, Clusters, Floats, Scores, clusters_of
from fairtune.stats.seeds import Spread, spread_of

__all__ = [
    "NO_INTERVAL",
    "POWER",
    "REPLICATES",
    "Aggregate",
    "Claim",
    "Clusters",
    "Difference",
    "Estimate",
    "Evidence",
    "Floats",
    "Interval",
    "Needed",
    "Scores",
    "Spread",
    "Tested",
    "bca_interval",
    "clusters_of",
    "difference_of",
    "estimate",
    "evidence",
    "gated",
    "holm",
    "interval_between",
    "interval_of",
    "mcnemar",
    "needed",
    "p_equivalent",
    "p_no_worse",
    "randomisation",
    "sign_flips",
    "smallest_difference",
    "spread_of",
    "studentised_interval",
    "t_interval",
    "wilson_interval",
]
