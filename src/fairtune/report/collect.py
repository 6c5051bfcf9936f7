"""Records become rows: every run, the mean over the seeds of a method, and what each gained over the base."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from fairtune.evaluate.metrics import Metric, metrics_of
from fairtune.records import MetricValue, Phase, RunRecord
from fairtune.report.chances import chances_notes
from fairtune.report.comparisons import AGAINST_BASE, Comparison, Side, base_of, compare, paired_scores, pairs_of
from fairtune.report.judged import Judged, adjusted_judged, judge_notes
from fairtune.report.leaks import leaked_metrics
from fairtune.report.notes import notes_of
from fairtune.report.tables import Entry, Tables, read_tables
from fairtune.stats import NO_INTERVAL, Scores, estimate, interval_between
from fairtune.study import RunSpec


@dataclass(frozen=True)
class Gain:
    """What a row gained over the untouched model: of a method with several seeds what its comparison speaks of, of a
    single run on other items alone."""

    difference: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Row:
    """A line of the report: one run, or the mean over the seeds of one cell."""

    entries: tuple[Entry, ...]
    mean: bool
    values: dict[str, MetricValue] = field(default_factory=dict)
    uplift: dict[str, Gain] = field(default_factory=dict)

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
    def wholes(self) -> dict[str, Row]:
        """By cell, of those with results: the mean over its seeds, or its only run."""
        found: dict[str, Row] = {}
        for row in self.rows:
            if row.mean or row.spec.cell not in found:
                found[row.spec.cell] = row
        return {cell: row for cell, row in found.items() if row.mean or row.entries[0].ok}

    @property
    def ok(self) -> bool:
        """Whether everything that was asked for has results."""
        return all(entry.ok for entry in self.entries) and all(found.ok for found in self.judged)


def collect(
    study: str,
    entries: Sequence[Entry],
    judged: Sequence[Judged] = (),
    margins: Mapping[str, float] | None = None,
    trials: Sequence[Entry] = (),
) -> Report:
    """Reads the examples of all finished runs and compares every method with the base of its model.

    Args:
        trials: by which options were chosen; they are no rows and no comparisons.
        margins: by metric, what a run may lose and still count as no worse.
    """
    tables = read_tables(entries)
    metrics = {name: metric for entry in entries for name, metric in metrics_of(entry.spec).items()}
    groups = _groups(entries)
    sides = [Side(finished) for group in groups if (finished := tuple(entry for entry in group if entry.ok))]
    comparisons = compare(pairs_of(sides), tables, metrics, margins)
    rows = [row for group in groups for row in _rows(group, Known(sides, tables, metrics, comparisons))]
    records = [entry.record for entry in entries if entry.record]
    notes = [
        *tables.problems,
        *_unpaired(sides, tables),
        *notes_of(records, comparisons),
        *chances_notes(entries),
        *judge_notes(judged),
    ]
    return Report(
        study=study,
        entries=tuple(entries),
        metrics=tuple(metrics),
        rows=tuple(rows),
        comparisons=tuple(comparisons),
        notes=tuple(notes),
        known=metrics,
        leaked=leaked_metrics(records),
        judged=adjusted_judged(judged),
        trials=tuple(trials),
    )


@dataclass(frozen=True)
class Known:
    """What rows are made of."""

    sides: Sequence[Side]
    tables: Tables
    metrics: Mapping[str, Metric]
    comparisons: Sequence[Comparison]

    def gain(self, entries: tuple[Entry, ...], name: str) -> Gain | None:
        """Over the untouched model; None where that cannot be told."""
        runs = tuple(entry.spec.run_id for entry in entries)
        for known in self.comparisons:
            if (known.family, known.metric, known.a_runs) == (AGAINST_BASE, name, runs):
                return Gain(known.difference, known.low, known.high)
        side = Side(entries)
        base = base_of(side, self.sides)
        scores = paired_scores(side, base, name, self.metrics[name], self.tables) if base else None
        if scores is None:
            return None
        interval, _ = interval_between(*scores)
        ends = (interval.low, interval.high) if interval else (None, None)
        return Gain(scores[0].value - scores[1].value, *ends)


def _groups(entries: Sequence[Entry]) -> list[list[Entry]]:
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.spec.cell, []).append(entry)
    return list(groups.values())


def _rows(group: Sequence[Entry], known: Known) -> list[Row]:
    """A row for each run, and their mean where there are several."""
    rows = [_row((entry,), known) for entry in group]
    finished = tuple(entry for entry in group if entry.ok)
    if finished and len(group) > 1:
        rows.append(_row(finished, known, mean=True))
    return rows


def _row(entries: tuple[Entry, ...], known: Known, mean: bool = False) -> Row:
    values: dict[str, MetricValue] = {}
    uplift: dict[str, Gain] = {}
    for name, metric in known.metrics.items():
        record = entries[0].record
        single = record.metrics.get(name) if record else None
        scores = known.tables.scores(entries, name, metric)
        if single and not mean:
            values[name] = single
        elif single and scores is not None:
            values[name] = _mean_value(single, scores, Side(entries).seeded)
        elif single:
            values[name] = _plain_mean(entries, name)
        gain = known.gain(entries, name)
        if gain:
            uplift[name] = gain
    return Row(entries, mean, values, uplift)


def _mean_value(single: MetricValue, scores: Scores, seeded: bool) -> MetricValue:
    found = estimate(scores, seeded)
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
    """Of a number that is no function of sums over items, or whose items are missing."""
    found = [entry.record.metrics.get(name) for entry in entries if entry.record]
    known = [single for single in found if single is not None]
    values = [single.value for single in known if single.value is not None]
    value = sum(values) / len(values) if len(values) == len(entries) else None
    reason = known[0].reason or "the items of a run are missing, or differ from those of another seed"
    ends = {"low": None, "high": None, "interval": NO_INTERVAL, "reason": reason, "per_label": None}
    return known[0].model_copy(update={"value": value, **ends})


def _unpaired(sides: Sequence[Side], tables: Tables) -> list[str]:
    """Runs that cannot be compared, since what they were asked is not the same."""
    notes: list[str] = []
    for side in sides:
        base = base_of(side, sides)
        if base is None:
            continue
        for entry, name in itertools.product(side.entries, side.spec.scores):
            ours, theirs = tables.items(entry, name), tables.items(base.entries[0], name)
            if ours and theirs and ours != theirs:
                notes.append(
                    f"{entry.spec.cell}, seed {entry.spec.seed}: other items or prompts than the base's, so there "
                    "is no Δ. If the chat template writes the date, run them again on one day"
                )
    return list(dict.fromkeys(notes))
