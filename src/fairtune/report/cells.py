"""What stands in the cells of the two tables: quality and cost."""

from __future__ import annotations

import functools
from collections.abc import Callable

from fairtune.evaluate.metrics import Metric
from fairtune.records import Phase
from fairtune.report.chances import trials_table
from fairtune.report.collect import Report, Row
from fairtune.report.comparisons import (
    AGAINST_BASE,
    AMONG_METHODS,
    AMONG_PRECISIONS,
    NOT_SHOWN,
    THESE_RUNS,
    Comparison,
)
from fairtune.report.judged import JUDGED_HEADINGS, judged_rows
from fairtune.report.leaks import LEAKED
from fairtune.report.names import ends_of, format_score, method_parts, signed, signed_ends_of
from fairtune.report.predicted import FITS, PHASES, Pair, is_planned, largest, mean, peak_of, whole_peak, whole_seconds
from fairtune.report.text_table import TextTable as TextTable
from fairtune.study import RunSpec
from fairtune.units import format_bytes, format_count, format_seconds

_MARKS = {"better": "▲", "worse": "▼", NOT_SHOWN: "≈", "higher": "△", "lower": "▽"}
ONLY_RUNS = "¹"
_ARROWS = {True: " ↑", False: " ↓", None: ""}
_MEASURED: tuple[Phase, ...] = ("train", "evaluate", "generate")


def tables(report: Report) -> list[TextTable]:
    """Quality, trained methods against each other, what a judge found, cost, plans, trials: those that have rows."""
    pairs = _pairs(report)
    trials = trials_table(report.trials, report.entries)
    shown = [_quality(report), pairs, *_judged(report), _cost(report), *_planned(report), trials]
    return [table for table in shown if table.rows]


def _pairs(report: Report) -> TextTable:
    """A row for each pair of trained methods, or of precisions of one: the first minus the second."""
    names = {
        entry.spec.run_id: (*_name(entry.spec, report), *_precision(entry.spec, report)) for entry in report.entries
    }
    pairs: dict[tuple[str, str], dict[str, Comparison]] = {}
    for comparison in report.comparisons:
        if comparison.family in (AMONG_METHODS, AMONG_PRECISIONS):
            pair = comparison.a_runs[0], comparison.b_runs[0]
            pairs.setdefault(pair, {})[comparison.metric] = comparison
    rows = tuple(
        (names[a], ("−", *names[b]), *(_difference(found.get(name)) for name in report.metrics))
        for (a, b), found in pairs.items()
    )
    headings = ("method", "minus", *_headings(report))
    return TextTable("Against each other", headings, rows)


def _judged(report: Report) -> list[TextTable]:
    """A table for each judge, a row for each comparison."""

    def name(spec: RunSpec) -> tuple[str, ...]:
        seeds = {entry.spec.seed for entry in report.entries if entry.spec.method.trains}
        seed = (f"seed {spec.seed}",) if spec.method.trains and len(seeds) > 1 else ()
        return (*_name(spec, report), *_precision(spec, report), *seed)

    return [TextTable(title, JUDGED_HEADINGS, rows) for title, rows in judged_rows(report.judged, name, format_score)]


def _difference(found: Comparison | None) -> tuple[str, ...]:
    if found is None:
        return ("–",)
    return (f"Δ {signed(found.difference)}", signed_ends_of(found.low, found.high), mark_of(found))


def mark_of(found: Comparison) -> str:
    """The sign of a verdict; with a footnote where it speaks of these very runs, and not of other seeds."""
    only = ONLY_RUNS if found.about == THESE_RUNS and found.seeds and found.verdict != NOT_SHOWN else ""
    return _MARKS[found.verdict] + only


def _name(spec: RunSpec, report: Report) -> tuple[str, ...]:
    return method_parts(spec, [entry.spec for entry in report.entries])


def _precision(spec: RunSpec, report: Report) -> tuple[str, ...]:
    """Nothing where all runs have the same."""
    return (spec.precision,) if len({entry.spec.precision for entry in report.entries}) > 1 else ()


def _who(row: Row, report: Report) -> list[tuple[str, ...]]:
    return [_name(row.spec, report), *((name,) for name in _precision(row.spec, report)), (row.seed,)]


def _who_headings(report: Report) -> list[str]:
    return ["method", *("precision" for _ in _precision(report.entries[0].spec, report)), "seed"]


def _quality(report: Report) -> TextTable:
    headings = [*_who_headings(report), *_headings(report)]
    rows = []
    for row in report.rows:
        status = row.entries[0].status
        shown: list[tuple[str, ...]] = [_score(row, name, report) for name in report.metrics]
        if not row.mean and status != "ok":
            shown = [(status,), *([("–",)] * (len(report.metrics) - 1))]
        rows.append((*_who(row, report), *shown))
    return TextTable("Quality", tuple(headings), tuple(rows))


def _headings(report: Report) -> list[str]:
    """Which way is better; and a sign at metrics whose items stand in the training data."""
    return [
        f"{name}{_arrow(report.known[name])}{f' {LEAKED}' if name in report.leaked else ''}" for name in report.metrics
    ]


def _arrow(metric: Metric) -> str:
    return _ARROWS[metric.higher_is_better]


def _score(row: Row, name: str, report: Report) -> tuple[str, ...]:
    value = row.values.get(name)
    if value is None or value.value is None:
        return ("–",)
    parts = [format_score(value.value), ends_of(value.low, value.high)]
    gain = row.uplift.get(name)
    if gain:
        parts.append(f"Δ {signed(gain.difference)} {_mark(row, name, report)}".rstrip())
    return tuple(parts)


def _mark(row: Row, name: str, report: Report) -> str:
    """A verdict belongs to a method with all its seeds, not to one seed of several."""
    runs = tuple(entry.spec.run_id for entry in row.entries)
    for comparison in report.comparisons:
        if (comparison.family, comparison.metric, comparison.a_runs) == (AGAINST_BASE, name, runs):
            return mark_of(comparison)
    return ""


def _cost(report: Report) -> TextTable:
    headings = (
        *_who_headings(report),
        "trainable",
        "weights",
        "train time",
        "tokens/s",
        "peak train",
        "peak evaluate",
        "peak generate",
        "predicted",
    )
    rows = tuple((*_who(row, report), *((text,) for text in _costs(row)), _predicted(row)) for row in report.rows)
    return TextTable("Cost", headings, rows)


def _costs(row: Row) -> list[str]:
    trainable = row.average(lambda record: record.parameters.trainable if record.parameters else None)
    speed = row.average(lambda record: record.throughput.train_tokens_per_second)
    return [
        format_count(None if trainable is None else round(trainable)),
        _weights(row),
        _training_time(row),
        "–" if speed is None else f"{speed:.0f}" if speed >= 10 else f"{speed:.1f}",
        *(format_bytes(_peak(row, phase)) for phase in _MEASURED),
    ]


def _weights(row: Row) -> str:
    """Of the model as it lies in memory: what is frozen, and what is trained."""
    every = row.average(lambda record: record.parameters.weight_bytes if record.parameters else None)
    trained = row.average(lambda record: record.parameters.trainable_bytes if record.parameters else None)
    if every is None or not trained or trained == every:
        return format_bytes(None if every is None else round(every))
    return f"{format_bytes(round(every - trained))} + {format_bytes(round(trained))}"


def _training_time(row: Row) -> str:
    """Of the updates and validation; and besides, of a teacher that was heard for it (none, if another run had)."""
    train, teach = row.seconds("train"), row.seconds("teach")
    return format_seconds(train) if teach is None else f"{format_seconds(train)} + {format_seconds(teach)} teacher"


def _peak(row: Row, phase: Phase) -> int | None:
    """The largest over the row's runs: what must be there for all of them."""
    costs = [entry.record.phases.get(phase) for entry in row.entries if entry.record]
    return max((cost.peak_bytes for cost in costs if cost and cost.peak_bytes is not None), default=None)


def _predicted(row: Row) -> tuple[str, ...]:
    """The largest peak, and how far that was off."""
    pair = largest(row, whole_peak)
    return (format_bytes(_whole(pair.predicted)), *_error(pair))


def _planned(report: Report) -> list[TextTable]:
    """A column a phase, and all seconds; where anything was predicted."""
    if not is_planned(entry.record for entry in report.entries):
        return []
    rows = tuple((*_who(row, report), (_fit(row),), *_plan_cells(row)) for row in report.rows)
    headings = (*_who_headings(report), "plan", *PHASES, "time")
    return [TextTable("Peaks and time, predicted → measured", headings, rows)]


def _fit(row: Row) -> str:
    """The verdict of most importance among the row's runs."""
    found = {entry.record.plan.verdict for entry in row.entries if entry.record}
    return next((words for fit, words in FITS.items() if fit in found), "–")


def _plan_cells(row: Row) -> list[tuple[str, ...]]:
    peaks = [largest(row, functools.partial(peak_of, phase=phase)) for phase in PHASES]
    shown = [_both(pair, lambda number: format_bytes(_whole(number))) for pair in peaks]
    return [*shown, _both(mean(row, whole_seconds), format_seconds)]


def _both(pair: Pair, shown: Callable[[float | None], str]) -> tuple[str, ...]:
    """``1.02 GiB → 1.05 GiB``, ``−3 %``; a dash where there was neither such a phase nor a plan of it."""
    if pair.predicted is None and pair.measured is None:
        return ("–",)
    return (f"{shown(pair.predicted)} → {shown(pair.measured)}", *_error(pair))


def _error(pair: Pair) -> tuple[str, ...]:
    """Nothing where one of the two numbers is missing."""
    if pair.error is None:
        return ()
    return (f"{'−' if pair.error < 0 else '+'}{abs(pair.error):.0%}".replace("%", " %"),)


def _whole(number: float | None) -> int | None:
    return None if number is None else round(number)
