"""Which runs are compared, and what is said of it: differences, many at once, in families."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fairtune.evaluate.metrics import Metric
from fairtune.report.chances import unequal
from fairtune.report.tables import Entry, Tables
from fairtune.stats import Difference, Scores, difference_of, gated, holm, needed, p_no_worse, smallest_difference
from fairtune.study import RunSpec

LEVEL = 0.05
AGAINST_BASE = "against the untouched model"
AMONG_METHODS = "among trained methods"
AMONG_PRECISIONS = "among precisions of a trained method"
NOT_SHOWN = "no difference shown"
THESE_RUNS, OTHER_SEEDS = "these runs", "other seeds too"

_LEAST_EXCHANGES, _EXCHANGES_EACH, _MOST_EXCHANGES = 10_000, 100, 200_000


@dataclass(frozen=True)
class Comparison:
    """One metric of one method against another, paired item by item over all their seeds."""

    family: str
    """:data:`AGAINST_BASE`, or :data:`AMONG_METHODS` and :data:`AMONG_PRECISIONS`, which are adjusted together."""
    metric: str
    a: str
    b: str
    n: int
    difference: float
    low: float | None
    high: float | None
    p: float
    p_adjusted: float
    verdict: str
    a_runs: tuple[str, ...]
    b_runs: tuple[str, ...]
    about: str = THESE_RUNS
    """What ``low``, ``high``, ``p`` and ``verdict`` speak of: ``these runs`` on other items, or ``other seeds too``."""
    seeds: int = 1
    """Seeds of the side that has fewer; of a method that does not train, those of the other."""
    test: str = ""
    """How the p-value of these runs was found."""
    interval: str = ""
    """How their interval was found."""
    low_items: float | None = None
    """Of these very runs on other items: ends of the interval, p-value, and that adjusted."""
    high_items: float | None = None
    p_items: float | None = None
    p_items_adjusted: float | None = None
    low_seeds: float | None = None
    """The same with other seeds too; None where a side that trains has one seed."""
    high_seeds: float | None = None
    p_seeds: float | None = None
    p_seeds_adjusted: float | None = None
    smallest: float | None = None
    """The smallest true difference that would have been shown with a chance of 80 %."""
    items_needed: int | None = None
    """Items with which a true difference as large as the one seen would be shown with a chance of 80 %."""
    seeds_needed: int | None = None
    """The same for seeds on these items."""
    margin: float | None = None
    """What the study says may be lost; None where it says nothing."""
    p_no_worse: float | None = None
    """p-value of "worse by the margin or more"."""
    unequal: str | None = None
    """How the chances of both sides to find good options differed; None where they were equal."""
    reason: str | None = None
    """Why a number is missing."""


@dataclass(frozen=True)
class Side:
    """Runs that differ in their seed alone."""

    entries: tuple[Entry, ...]

    @property
    def spec(self) -> RunSpec:
        """The first run's."""
        return self.entries[0].spec

    @property
    def seeds(self) -> tuple[int, ...]:
        """In the order of the runs."""
        return tuple(entry.spec.seed for entry in self.entries)

    @property
    def seeded(self) -> bool:
        """Whether another seed would have given another result; an untouched model is what the others began with."""
        return self.spec.method.trains


@dataclass(frozen=True)
class Pair:
    """Two sides to be compared, as members of a family."""

    family: str
    a: Side
    b: Side


def pairs_of(sides: Sequence[Side]) -> list[Pair]:
    """Every trained method against the untouched model, and every two that differ in one way alone."""
    found = []
    for side in sides:
        base = base_of(side, sides)
        if base:
            found.append(Pair(AGAINST_BASE, side, base))
    trained = [side for side in sides if side.spec.method.trains]
    for first, second in itertools.combinations(trained, 2):
        family = _family(first.spec, second.spec)
        if family:
            found.append(Pair(family, first, second))
    return found


def base_of(side: Side, sides: Sequence[Side]) -> Side | None:
    """The untouched model at the same precision; None for itself, or where there is none."""
    if not side.spec.method.trains:
        return None
    for other in sides:
        same = other.spec.model == side.spec.model and other.spec.precision == side.spec.precision
        if same and not other.spec.method.trains:
            return other
    return None


def _family(first: RunSpec, second: RunSpec) -> str | None:
    """None for two runs that differ in more than one way: nobody could say what made the difference."""
    if first.model != second.model:
        return None
    if first.precision == second.precision:
        return AMONG_METHODS
    return AMONG_PRECISIONS if (first.method, first.augment) == (second.method, second.augment) else None


def compare(
    pairs: Sequence[Pair],
    tables: Tables,
    metrics: Mapping[str, Metric],
    margins: Mapping[str, float] | None = None,
    level: float = LEVEL,
) -> list[Comparison]:
    """Every metric of every pair, with p-values that hold for a whole family together.

    There are two, each asked at the level: comparisons with the untouched model, and all others. Those are asked only
    where something differs from the untouched model, so that where nothing does, the chance of any false "better"
    stays below the level.
    """
    found = list(_differences(pairs, tables, metrics))
    asked = _adjusted([_comparison(pair, name, difference) for pair, name, difference in found])
    judged = [_judged(comparison, metrics[comparison.metric], level) for comparison in asked]
    family = {base: [one for one in judged if (one.family == AGAINST_BASE) == base] for base in (True, False)}
    return [
        _powered(comparison, difference, metrics[name], (margins or {}).get(name), family[base], level)
        for comparison, (pair, name, difference) in zip(judged, found, strict=True)
        for base in (pair.family == AGAINST_BASE,)
    ]


def _differences(
    pairs: Sequence[Pair], tables: Tables, metrics: Mapping[str, Metric]
) -> Iterator[tuple[Pair, str, Difference]]:
    against_base = sum(pair.family == AGAINST_BASE for pair in pairs)
    for pair in pairs:
        members = len(metrics) * (against_base if pair.family == AGAINST_BASE else len(pairs) - against_base)
        most = min(_MOST_EXCHANGES, max(_LEAST_EXCHANGES, _EXCHANGES_EACH * members))
        for name, metric in metrics.items():
            scores = paired_scores(pair.a, pair.b, name, metric, tables)
            if scores:
                seeded, same = (pair.a.seeded, pair.b.seeded), pair.a.seeds == pair.b.seeds
                yield pair, name, difference_of(*scores, seeded, same, most)


def paired_scores(a: Side, b: Side, name: str, metric: Metric, tables: Tables) -> tuple[Scores, Scores] | None:
    """None where the items differ, where there is only one, or where a score is not finite."""
    ours, theirs = (tables.scores(side.entries, name, metric) for side in (a, b))
    if ours is None or theirs is None or ours.units.shape[1] < 2:
        return None
    if tables.items(a.entries[0], name) != tables.items(b.entries[0], name):
        return None
    if not np.isfinite([ours.value, theirs.value]).all():
        return None
    # A run of before clusters were kept may stand beside one of after: the items are the same.
    clusters = ours.clusters if theirs.clusters is None else theirs.clusters
    return replace(ours, clusters=clusters), replace(theirs, clusters=clusters)


def _comparison(pair: Pair, name: str, found: Difference) -> Comparison:
    method = found.method
    return Comparison(
        family=pair.family,
        metric=name,
        a=pair.a.spec.cell,
        b=pair.b.spec.cell,
        n=found.n,
        difference=found.difference,
        low=found.runs.low,
        high=found.runs.high,
        p=found.runs.p,
        p_adjusted=found.runs.p,
        verdict="",
        a_runs=tuple(entry.spec.run_id for entry in pair.a.entries),
        b_runs=tuple(entry.spec.run_id for entry in pair.b.entries),
        seeds=found.seeds,
        test=found.test,
        interval=found.interval,
        low_items=found.runs.low,
        high_items=found.runs.high,
        p_items=found.runs.p,
        low_seeds=method.low if method else None,
        high_seeds=method.high if method else None,
        p_seeds=method.p if method else None,
        unequal=unequal(pair.a.spec, pair.b.spec),
        reason=found.reason,
    )


def _adjusted(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Holm over each family; then the gate that the families among trained methods stand behind.

    What is not shown for these runs is not shown for others: the second p-value is never below the first.
    """
    families = [found.family for found in comparisons]
    items = adjusted_in_families(families, [found.p_items for found in comparisons])
    seeds = adjusted_in_families(families, [found.p_seeds for found in comparisons])
    return [
        replace(
            found,
            p_items_adjusted=of_items,
            p_seeds_adjusted=None if of_seeds is None else max(of_seeds, of_items or 0.0),
        )
        for found, of_items, of_seeds in zip(comparisons, items, seeds, strict=True)
    ]


def adjusted_in_families(families: Sequence[str], p_values: Sequence[float | None]) -> list[float | None]:
    """p-values that hold for a whole family: the comparisons with the untouched model, and all others.

    None stays None, and is a member all the same: nobody knows it, so it counts as 1.
    """
    adjusted: list[float | None] = [None] * len(p_values)
    first: list[float] = []
    for against_base in (True, False):
        places = [place for place, family in enumerate(families) if (family == AGAINST_BASE) == against_base]
        values = [p_values[place] for place in places]
        found = holm([1.0 if p is None else p for p in values])
        shown = found if against_base else gated(first, found)
        first = found if against_base and any(p is not None for p in values) else first
        for place, p, value in zip(places, shown, values, strict=True):
            adjusted[place] = None if value is None else p
    return adjusted


def _judged(found: Comparison, metric: Metric, level: float) -> Comparison:
    """The widest claim that holds: of other seeds too, of these runs, or none."""
    runs_hold = found.p_items_adjusted is not None and found.p_items_adjusted < level
    seeds_hold = found.p_seeds_adjusted is not None and found.p_seeds_adjusted < level
    about = OTHER_SEEDS if seeds_hold or (found.p_seeds is not None and not runs_hold) else THESE_RUNS
    verdict = _verdict(found.difference, metric) if runs_hold or seeds_hold else NOT_SHOWN
    if about == OTHER_SEEDS and found.p_seeds is not None and found.p_seeds_adjusted is not None:
        return replace(
            found,
            about=about,
            verdict=verdict,
            low=found.low_seeds,
            high=found.high_seeds,
            p=found.p_seeds,
            p_adjusted=found.p_seeds_adjusted,
        )
    adjusted = found.p if found.p_items_adjusted is None else found.p_items_adjusted
    return replace(found, about=about, verdict=verdict, p_adjusted=adjusted)


def _verdict(difference: float, metric: Metric) -> str:
    if metric.higher_is_better is None:
        return "higher" if difference > 0 else "lower"
    return "better" if (difference > 0) == metric.higher_is_better else "worse"


def _powered(
    found: Comparison,
    difference: Difference,
    metric: Metric,
    margin: float | None,
    family: Sequence[Comparison],
    level: float,
) -> Comparison:
    """What it could have shown, at the step of Holm's that an open comparison of its family meets."""
    if not np.isfinite(difference.spread.variance):
        return found
    step = level / max(1, sum(other.verdict == NOT_SHOWN for other in family))
    wanted = needed(difference, step) if found.verdict == NOT_SHOWN else None
    no_worse = None
    if margin is not None and metric.higher_is_better is not None:
        gain = found.difference if metric.higher_is_better else -found.difference
        no_worse = p_no_worse(difference, gain, margin, metric.proportion)
    return replace(
        found,
        smallest=smallest_difference(difference, step),
        items_needed=wanted.items if wanted else None,
        seeds_needed=wanted.seeds if wanted else None,
        margin=margin,
        p_no_worse=no_worse,
    )
