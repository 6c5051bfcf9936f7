"""What runs cost, phase by phase; and below each number what had been predicted of it."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass

from fairtune.records import Phase, RunRecord
from fairtune.report.collect import Report, Row
from fairtune.report.html.groups import groups, seeds_of
from fairtune.report.html.names import method_name
from fairtune.report.names import DASH
from fairtune.report.predicted import FITS, Pair, is_planned, largest, mean, peak_of, seconds_of, whole_seconds
from fairtune.units import format_bytes, format_count, format_seconds

_PHASES: tuple[Phase, ...] = ("load", "teach", "train", "evaluate", "generate", "check")
"""In the order of time."""

Headings = list[tuple[str, list[str]]]
"""Groups of columns."""


@dataclass(frozen=True)
class Cost:
    """A measurement; what the plan had said, and by how much it was off."""

    text: str
    sort: float | None
    planned: str = ""
    error: str = ""


@dataclass(frozen=True)
class CostLine:
    """A method, what the plan said of it, and its numbers in the order of the headings."""

    name: str
    seeds: str
    plan: str
    costs: tuple[Cost, ...]


def cost_headings(report: Report) -> Headings:
    """Of the phases that any run had."""
    phases = _phases(report)
    return [
        ("Parameters", ["all", "trainable", "in memory"]),
        ("Time", [*phases, "all", "tokens/s"]),
        ("Peak memory", list(phases)),
    ]


def starts(headings: Headings) -> frozenset[int]:
    """Numbers of the columns with which a group begins."""
    return frozenset(itertools.accumulate((len(columns) for _, columns in headings[:-1]), initial=0))


def _phases(report: Report) -> list[Phase]:
    had = {phase for record in records_of(report) for phase in (*record.phases, *record.plan.phases)}
    return [phase for phase in _PHASES if phase in had]


def cost_lines(report: Report) -> list[CostLine]:
    """Means over the seeds of a method; of peaks the largest."""
    phases, planned = _phases(report), is_planned(records_of(report))
    return [
        CostLine(
            method_name(group.lead.spec, report),
            _who(group.lead, seeds_of(group)),
            _verdict(group.lead) if planned else "",
            _costs(group.lead, phases),
        )
        for group in groups(report)
    ]


def _who(row: Row, seeds: str) -> str:
    """A run without results is named by its status."""
    status = "ok" if row.mean else row.entries[0].status
    return seeds if status == "ok" else f"{seeds}, {status.replace('_', ' ')}"


def _costs(row: Row, phases: list[Phase]) -> tuple[Cost, ...]:
    every = row.average(lambda record: record.parameters.total if record.parameters else None)
    trained = row.average(lambda record: record.parameters.trainable if record.parameters else None)
    weights = row.average(lambda record: record.parameters.weight_bytes if record.parameters else None)
    speed = row.average(lambda record: record.throughput.train_tokens_per_second)
    times = [mean(row, functools.partial(seconds_of, phase=phase)) for phase in phases]
    peaks = [largest(row, functools.partial(peak_of, phase=phase)) for phase in phases]
    return (
        Cost(format_count(_whole(every)), every),
        Cost(format_count(_whole(trained)), trained, _share(trained, every)),
        Cost(format_bytes(_whole(weights)), weights),
        *(_cost(pair, format_seconds) for pair in (*times, _all(row))),
        Cost(DASH if speed is None else f"{speed:,.0f}", speed),
        *(_cost(pair, _bytes) for pair in peaks),
    )


def _all(row: Row) -> Pair:
    """Every phase that was measured; what the plan said is of all phases that it knew."""
    foreseen = mean(row, whole_seconds)
    took = row.average(lambda record: sum(cost.seconds for cost in record.phases.values()) if record.phases else None)
    return foreseen if foreseen.measured is not None else Pair(foreseen.predicted, took)


def _share(trained: float | None, every: float | None) -> str:
    return "" if not trained or not every or trained == every else f"{100 * trained / every:.2g} %"


def _whole(number: float | None) -> int | None:
    return None if number is None else round(number)


def _bytes(number: float | None) -> str:
    return format_bytes(_whole(number))


def _cost(pair: Pair, shown: Callable[[float | None], str]) -> Cost:
    planned = "" if pair.predicted is None else shown(pair.predicted)
    return Cost(shown(pair.measured), pair.measured, planned, _off(pair.error))


def _off(error: float | None) -> str:
    if error is None:
        return ""
    percent = round(100 * error)
    return f"{'−' if percent < 0 else '+' if percent else ''}{abs(percent)} %"


def _verdict(row: Row) -> str:
    """That of most importance among the row's runs; nothing where nothing was predicted."""
    found = {entry.record.plan.verdict for entry in row.entries if entry.record and entry.record.plan.phases}
    return next((f"plan: {words}" for fit, words in FITS.items() if fit in found), "")


def records_of(report: Report) -> list[RunRecord]:
    """Of all runs that have one."""
    return [entry.record for entry in report.entries if entry.record]
