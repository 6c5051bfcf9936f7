"""Records become rows: every run, the mean over the seeds of a method, and what each gained over the base."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from fairtune.errors import RecordError
from fairtune.evaluate.metrics import Metric, metrics_of
from fairtune.records import MetricValue, Phase, RunFolder, RunRecord, read_lines
from fairtune.report.judged import Judged, adjusted_judged, judge_notes
from fairtune.report.leaks import leaked_metrics
from fairtune.report.notes import notes_of
from fairtune.stats import NO_INTERVAL, Difference, Floats, estimate, holm, paired_difference
from fairtune.study import RunSpec

LEVEL = 0.05
AGAINST_BASE = "against the untouched model"
AMONG_METHODS = "among trained methods"
AMONG_PRECISIONS = "among precisions of a trained method"


@dataclass(frozen=True)
class Entry:
    """A run as asked, and what there is of it. ``problem`` says why there is no record."""

    spec: RunSpec
    folder: RunFolder
    record: RunRecord | None
    problem: str | None = None

    @property
    def ok(self) -> bool:
        """Whether the run has results."""
        return self.record is not None and self.record.status == "ok"

    @property
    def status(self) -> str:
        """The record's status; or ``unreadable``, ``missing``, or ``waiting`` for trials."""
        if self.record is None and self.problem is None and self.spec.tuned and self.spec.tuned.open:
            return "waiting"
        return self.record.status if self.record else "unreadable" if self.problem else "missing"

    @property
    def reason(self) -> str | None:
        """Why it has no results, where somebody said so."""
        if self.status == "waiting":
            return self.spec.tuned.open if self.spec.tuned else None
        return self.problem or (self.record.error.message if self.record and self.record.error else None)


@dataclass(frozen=True)
class Comparison:
    """One metric of one method against another, paired item by item over all their seeds."""

    family: str
    """:data:`AGAINST_BASE`, :data:`AMONG_METHODS` or :data:`AMONG_PRECISIONS`; p-values are adjusted within a family
    and metric."""
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
    about: str = "these runs"
    """What ``low``, ``high``, ``p`` and ``verdict`` speak of: ``these runs`` on other items, or ``other seeds too``."""
    seeds: int = 1
    """Seeds of the side that has fewer; of a method that does not train, those of the other."""
    test: str = ""
    """How ``p`` was found."""
    interval: str = ""
    """How ``low`` and ``high`` were found."""
    low_items: float | None = None
    """Ends of the interval and p-value of these very runs on other items."""
    high_items: float | None = None
    p_items: float | None = None
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
class Row:
    """A line of the report: one run, or the mean over the seeds of one cell."""

    entries: tuple[Entry, ...]
    mean: bool
    values: dict[str, MetricValue] = field(default_factory=dict)
    uplift: dict[str, Difference] = field(default_factory=dict)

    @property
    def spec(self) -> RunSpec:
        """The first run's spec."""
        return self.entries[0].spec

    @property
    def seed(self) -> str:
        """The seed, ``mean of n``, or a dash where no seed matters."""
        if self.mean:
            return f"mean of {len(self.entries)}"
        return str(self.spec.seed) if self.spec.method.trains else "–"

    def average(self, of: Callable[[RunRecord], float | None]) -> float | None:
        """Mean of a number over the runs that have it."""
        numbers = [of(entry.record) for entry in self.entries if entry.record]
        known = [number for number in numbers if number is not None]
        return sum(known) / len(known) if known else None

    def seconds(self, phase: Phase) -> float | None:
        """Mean length of a phase, over the runs that had it."""
        return self.average(lambda record: record.phases[phase].seconds if phase in record.phases else None)


@dataclass(frozen=True)
class Report:
    """Everything a format needs."""

    study: str
    entries: tuple[Entry, ...]
    metrics: tuple[str, ...]
    rows: tuple[Row, ...]
    comparisons: tuple[Comparison, ...]
    notes: tuple[str, ...]
    known: Mapping[str, Metric]
    """The metrics by their names."""
    leaked: frozenset[str] = frozenset()
    """Metrics with items that stand in the training or validation data."""
    judged: tuple[Judged, ...] = ()
    """What a judge found of trained runs."""
    trials: tuple[Entry, ...] = ()
    """Runs that only chose options for others; they have no scores and stand in no row."""

    @property
    def ok(self) -> bool:
        """Whether everything that was asked for has results."""
        return all(entry.ok for entry in self.entries) and all(found.ok for found in self.judged)


def collect(
    study: str, entries: Sequence[Entry], judged: Sequence[Judged] = (), trials: Sequence[Entry] = ()
) -> Report:
    """Reads the examples of all finished runs and compares every method with the base of its model."""
    tables, problems = _read_tables(entries)
    metrics = {name: metric for entry in entries for name, metric in metrics_of(entry.spec).items()}
    rows: list[Row] = []
    wholes: list[Row] = []
    comparisons: list[Comparison] = []
    for group in _groups(entries):
        base = _baseline(group[0], entries)
        rows += [_row([entry], base, tables, metrics) for entry in group]
        finished = [entry for entry in group if entry.ok]
        whole = _row(finished, base, tables, metrics, mean=True) if finished else None
        if whole and len(group) > 1:
            rows.append(whole)
        if whole and base:
            comparisons += _compared(AGAINST_BASE, whole, (base,), whole.uplift)
        if whole and group[0].spec.method.trains:
            wholes.append(whole)
    comparisons += _among(wholes, tables, metrics)
    records = [entry.record for entry in entries if entry.record]
    notes = [*problems, *_unpaired(entries, tables), *notes_of(records, bool(comparisons)), *judge_notes(judged)]
    adjusted, leaked = tuple(_adjusted(comparisons, metrics)), leaked_metrics(records)
    shown, known = tuple(rows), adjusted_judged(judged)
    return Report(
        study, tuple(entries), tuple(metrics), shown, adjusted, tuple(notes), metrics, leaked, known, tuple(trials)
    )


Table = tuple[tuple[str, ...], Floats]
"""Items, and their ``(items, k)`` or ``(runs, items, k)`` statistics."""
Tables = dict[tuple[str, str], Table]
"""By run and metric."""
Metrics = Mapping[str, Metric]


def _read_tables(entries: Iterable[Entry]) -> tuple[Tables, list[str]]:
    tables: Tables = {}
    problems: list[str] = []
    for entry in entries:
        for name, metric in metrics_of(entry.spec).items() if entry.ok else ():
            if metric.needs == "benchmark" and metric.statistics and not _made_of_items(entry, name):
                continue
            try:
                tables[entry.spec.run_id, name] = _table(entry.folder.examples(name), metric)
            except RecordError as error:
                problems.append(f"{error}; differences with this run are left out")
    return tables, problems


def _made_of_items(entry: Entry, name: str) -> bool:
    """Whether a benchmark's number is the sum of its items that its metric takes it for; it has an interval then."""
    value = entry.record.metrics.get(name) if entry.record else None
    return value is not None and value.interval != NO_INTERVAL


def _table(path: Path, metric: Metric) -> Table:
    lines = read_lines(path)
    try:
        numbers = [[_number(line["scores"], key, metric) for key in metric.statistics] for line in lines]
        # The prompt as the model saw it belongs to the item: another template asks something else.
        return tuple(f"{line['id']} {line['prompt_hash']}" for line in lines), np.array(numbers, dtype=np.float64)
    except (KeyError, TypeError, ValueError) as error:
        raise RecordError(f"{path}: damaged, an item lacks {error}") from None


def _number(scores: Mapping[str, float], key: str, metric: Metric) -> float:
    return float(scores.get(key, 0.0) if metric.sparse else scores[key])


def _groups(entries: Sequence[Entry]) -> list[list[Entry]]:
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.spec.cell, []).append(entry)
    return list(groups.values())


def _baseline(entry: Entry, entries: Sequence[Entry]) -> Entry | None:
    """The untouched model at the same precision; None for itself, or where there is none."""
    if not entry.spec.method.trains:
        return None
    for other in entries:
        same = other.spec.model == entry.spec.model and other.spec.precision == entry.spec.precision
        if same and not other.spec.method.trains and other.ok:
            return other
    return None


def _row(entries: Sequence[Entry], base: Entry | None, tables: Tables, metrics: Metrics, mean: bool = False) -> Row:
    values: dict[str, MetricValue] = {}
    uplift: dict[str, Difference] = {}
    for name, metric in metrics.items():
        ours = _stacked(entries, name, tables)
        record = entries[0].record
        single = record.metrics.get(name) if record else None
        if single and not mean:
            values[name] = single
        elif single and ours is not None and metric.statistics:
            values[name] = _mean_value(single, metric, ours[1])
        elif single and (ours is not None or single.interval == NO_INTERVAL):
            values[name] = _plain_mean(entries, name)
        theirs = _stacked([base], name, tables) if base else None
        difference = _difference(metric, ours, theirs)
        if difference:
            uplift[name] = difference
    return Row(tuple(entries), mean, values, uplift)


def _stacked(entries: Sequence[Entry], name: str, tables: Tables) -> Table | None:
    """``(runs, items, k)`` of the runs; None where one is missing or scored other items."""
    found = [tables.get((entry.spec.run_id, name)) for entry in entries]
    known = [table for table in found if table is not None]
    if not known or len(known) < len(found) or len({ids for ids, _ in known}) > 1:
        return None
    return known[0][0], np.stack([numbers for _, numbers in known])


def _mean_value(single: MetricValue, metric: Metric, statistics: Floats) -> MetricValue:
    found = estimate(statistics, metric.aggregate, metric.proportion)
    return single.model_copy(
        update={
            "value": found.value,
            "low": found.low,
            "high": found.high,
            "interval": found.method,
            "reason": found.reason,
            "per_label": None,
        }
    )


def _plain_mean(entries: Sequence[Entry], name: str) -> MetricValue:
    """Of a number that is no function of sums over items."""
    found = [entry.record.metrics[name] for entry in entries if entry.record]
    values = [single.value for single in found if single.value is not None]
    return found[0].model_copy(update={"value": sum(values) / len(values) if len(values) == len(found) else None})


def _among(wholes: Sequence[Row], tables: Tables, metrics: Metrics) -> list[Comparison]:
    """Every pair of trained methods on one model at one precision, and of precisions of one method."""
    found: list[Comparison] = []
    for first, second in itertools.combinations(wholes, 2):
        family = _family(first.spec, second.spec)
        if family:
            found += _compared(family, first, second.entries, _differences(first, second, tables, metrics))
    return found


def _family(first: RunSpec, second: RunSpec) -> str | None:
    """None for two runs that differ in more than one way: nobody could say what made the difference."""
    if first.model != second.model:
        return None
    if first.precision == second.precision:
        return AMONG_METHODS
    return AMONG_PRECISIONS if (first.method, first.augment) == (second.method, second.augment) else None


def _differences(first: Row, second: Row, tables: Tables, metrics: Metrics) -> dict[str, Difference]:
    found: dict[str, Difference] = {}
    for name, metric in metrics.items():
        ours, theirs = _stacked(first.entries, name, tables), _stacked(second.entries, name, tables)
        difference = _difference(metric, ours, theirs)
        if difference:
            found[name] = difference
    return found


def _difference(metric: Metric, ours: Table | None, theirs: Table | None) -> Difference | None:
    """None where the items differ, where there is only one, or where a score is not finite."""
    if ours is None or theirs is None or ours[0] != theirs[0] or len(ours[0]) < 2 or not metric.statistics:
        return None
    found = paired_difference(ours[1], theirs[1], metric.aggregate)
    return found if np.isfinite([found.difference, found.low, found.high]).all() else None


def _compared(family: str, row: Row, others: Sequence[Entry], found: dict[str, Difference]) -> list[Comparison]:
    return [
        Comparison(
            family=family,
            metric=name,
            a=row.spec.cell,
            b=others[0].spec.cell,
            n=difference.n,
            difference=difference.difference,
            low=difference.low,
            high=difference.high,
            p=difference.p,
            p_adjusted=difference.p,
            verdict="",
            a_runs=tuple(entry.spec.run_id for entry in row.entries),
            b_runs=tuple(entry.spec.run_id for entry in others),
        )
        for name, difference in found.items()
    ]


def _adjusted(comparisons: Sequence[Comparison], metrics: Metrics) -> list[Comparison]:
    """Holm within each family and metric, and the verdict."""
    families: dict[tuple[str, str], list[Comparison]] = {}
    for comparison in comparisons:
        families.setdefault((comparison.family, comparison.metric), []).append(comparison)
    adjusted: list[Comparison] = []
    for (_, name), family in families.items():
        for comparison, p in zip(family, holm([member.p for member in family]), strict=True):
            verdict = _verdict(comparison.difference, p, metrics[name])
            adjusted.append(replace(comparison, p_adjusted=p, verdict=verdict))
    return adjusted


def _verdict(difference: float, p: float, metric: Metric) -> str:
    if p >= LEVEL:
        return "no difference shown"
    if metric.higher_is_better is None:
        return "higher" if difference > 0 else "lower"
    return "better" if (difference > 0) == metric.higher_is_better else "worse"


def _unpaired(entries: Sequence[Entry], tables: Tables) -> list[str]:
    """Runs that cannot be compared, since what they were asked is not the same."""
    notes: list[str] = []
    for entry in entries:
        base = _baseline(entry, entries) if entry.ok else None
        for name in entry.spec.scores if base else ():
            ours, theirs = (tables.get((run.spec.run_id, name)) for run in (entry, base) if run)
            if ours and theirs and ours[0] != theirs[0]:
                notes.append(
                    f"{entry.spec.cell}, seed {entry.spec.seed}: other items or prompts than the base's, so there is "
                    "no Δ. If the chat template writes the date, run them again on one day"
                )
    return list(dict.fromkeys(notes))
