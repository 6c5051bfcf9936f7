"""What runs cost, phase by phase; and what had been predicted of it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

from fairtune.records import Phase, RunRecord
from fairtune.report.collect import Report, Row
from fairtune.report.html.groups import groups, seeds_of
from fairtune.report.html.names import DASH, method_name
from fairtune.report.html.statistics import Number
from fairtune.report.predicted import (
    FITS,
    PHASES,
    Pair,
    is_planned,
    largest,
    mean,
    peak_of,
    seconds_of,
    whole_peak,
    whole_seconds,
)
from fairtune.units import format_bytes, format_count, format_seconds


@dataclass(frozen=True)
class CostLine:
    """A method, and its numbers in the order of the headings."""

    name: str
    seeds: str
    status: str
    numbers: tuple[Number, ...]


@dataclass(frozen=True)
class Predicted:
    """``1.02 GiB → 1.05 GiB`` and how far that was off."""

    text: str
    error: str
    sort: float | None


@dataclass(frozen=True)
class PlanLine:
    """A method, the plan's verdict, and prediction beside measurement."""

    name: str
    seeds: str
    verdict: str
    cells: tuple[Predicted, ...]


def cost_headings(report: Report) -> list[tuple[str, list[str]]]:
    """Groups of columns."""
    phases = _phases(report)
    return [
        ("Parameters", ["all", "trainable"]),
        ("Weights", ["in memory"]),
        ("Time", [*phases, "tokens/s in training"]),
        ("Peak memory", phases),
    ]


def _phases(report: Report) -> list[Phase]:
    """Those that any run had, in the order of time."""
    order: tuple[Phase, ...] = ("load", "teach", "train", "evaluate", "generate", "check")
    had = {phase for entry in report.entries if entry.record for phase in entry.record.phases}
    return [phase for phase in order if phase in had]


def cost_lines(report: Report) -> list[CostLine]:
    """Means over the seeds of a method; of peaks the largest."""
    phases = _phases(report)
    return [
        CostLine(
            method_name(group.lead.spec, report),
            seeds_of(group),
            "ok" if group.lead.mean else group.lead.entries[0].status,
            tuple(_costs(group.lead, phases)),
        )
        for group in groups(report)
    ]


def _costs(row: Row, phases: list[Phase]) -> list[Number]:
    every = row.average(lambda record: record.parameters.total if record.parameters else None)
    trained = row.average(lambda record: record.parameters.trainable if record.parameters else None)
    weights = row.average(lambda record: record.parameters.weight_bytes if record.parameters else None)
    speed = row.average(lambda record: record.throughput.train_tokens_per_second)
    seconds = [row.seconds(phase) for phase in phases]
    peaks = [_peak(row, phase) for phase in phases]
    return [
        Number(format_count(_whole(every)), every),
        Number(_share(trained, every), trained),
        Number(format_bytes(_whole(weights)), weights),
        *(Number(format_seconds(number), number) for number in seconds),
        Number(DASH if speed is None else f"{speed:,.0f}", speed),
        *(Number(format_bytes(peak), peak) for peak in peaks),
    ]


def _share(trained: float | None, every: float | None) -> str:
    text = format_count(_whole(trained))
    if not trained or not every or trained == every:
        return text
    return f"{text} ({100 * trained / every:.2g} %)"


def _whole(number: float | None) -> int | None:
    return None if number is None else round(number)


def _peak(row: Row, phase: Phase) -> int | None:
    costs = [entry.record.phases.get(phase) for entry in row.entries if entry.record]
    return max((cost.peak_bytes for cost in costs if cost and cost.peak_bytes is not None), default=None)


def plan_headings() -> list[tuple[str, list[str]]]:
    """Groups of columns."""
    return [("Peak memory", [*PHASES, "largest"]), ("Time", [*PHASES, "all"])]


def plan_lines(report: Report) -> list[PlanLine]:
    """Nothing where no number was predicted."""
    if not is_planned(entry.record for entry in report.entries):
        return []
    return [
        PlanLine(method_name(group.lead.spec, report), seeds_of(group), _verdict(group.lead), _plan(group.lead))
        for group in groups(report)
    ]


def _verdict(row: Row) -> str:
    found = {entry.record.plan.verdict for entry in row.entries if entry.record}
    return next((words for fit, words in FITS.items() if fit in found), DASH)


def _plan(row: Row) -> tuple[Predicted, ...]:
    peaks = [largest(row, functools.partial(peak_of, phase=phase)) for phase in PHASES]
    times = [mean(row, functools.partial(seconds_of, phase=phase)) for phase in PHASES]
    memory = [*peaks, largest(row, whole_peak)]
    time = [*times, mean(row, whole_seconds)]
    return (*(_both(pair, lambda n: format_bytes(_whole(n))) for pair in memory), *(_both(p, format_seconds) for p in time))


def _both(pair: Pair, shown: Callable[[float | None], str]) -> Predicted:
    if pair.predicted is None and pair.measured is None:
        return Predicted(DASH, "", None)
    error = pair.error
    off = "" if error is None else f"{'−' if error < 0 else '+'}{100 * abs(error):.0f} %"
    return Predicted(f"{shown(pair.predicted)} → {shown(pair.measured)}", off, error)


def records_of(report: Report) -> list[RunRecord]:
    """Of all runs that have one."""
    return [entry.record for entry in report.entries if entry.record]
