"""What fits: plans as a table, narrow or wide, and as a document for programs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from fairtune.records import Fit, Phase, Plan
from fairtune.report.predicted import FITS
from fairtune.study import RunSpec, Search
from fairtune.units import format_bytes, format_seconds

_COLOURS: dict[Fit, str] = {"fits": "green", "tight": "yellow", "does_not_fit": "red", "unknown": "magenta"}
_BOUND = " *"
_GAP = 2
_NARROW = ("run", "verdict", "peak", "mostly", "tokens", "time")
_LEAST_OF_MOSTLY, _LEAST_OF_NAME = 8, 20
_ENDLESS = 10_000
# Where a name may be broken when there is no room for it: behind these.
_JOINTS = re.compile(r"(?<=[-_/, ])")


@dataclass(frozen=True)
class PlanReport:
    """Runs with their plans, and what they were planned for.

    Attributes:
        title: the device in words.
        device_from: who asked for it; ``budget_from``: who says what a process may take.
        problem: why nothing could be planned.
        tuned: methods that are tuned, each with the ids of the runs that its trials may choose.
    """

    study: str
    device: str
    title: str | None
    device_from: str
    budget_bytes: int | None
    budget_from: str
    runs: tuple[tuple[RunSpec, Plan], ...]
    problem: str | None = None
    tuned: tuple[tuple[Search, tuple[str, ...]], ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every run fits, tightly or not."""
        return all(plan.verdict in ("fits", "tight") for _, plan in self.runs)


@dataclass(frozen=True)
class Line:
    """Runs that differ in nothing but their seed, and have the same verdict."""

    specs: tuple[RunSpec, ...]
    plan: Plan
    """Of these, the one that takes most."""
    seconds: float | None
    """Of the longest."""

    @property
    def name(self) -> list[str]:
        """Model, method, precision, augmentation, seeds."""
        spec = self.specs[0]
        parts = [spec.model.name, spec.method.label, spec.precision, *([spec.augment.label] if spec.augment else [])]
        return [*parts, *([_seeds([one.seed for one in self.specs])] if spec.method.trains else [])]

    @property
    def verdict(self) -> Text:
        """In words, and in colour."""
        words = FITS[self.plan.verdict] + ("" if self.plan.simulated else _BOUND)
        return Text(words, style=_COLOURS[self.plan.verdict])

    @property
    def largest(self) -> Phase | None:
        """The phase that takes most."""
        peaks = {name: planned.peak_bytes or 0 for name, planned in self.plan.phases.items()}
        return max(peaks, key=lambda name: peaks[name], default=None)

    @property
    def tokens(self) -> str:
        """Most tokens of a pass that fit."""
        return "–" if self.plan.batch_tokens is None else f"{self.plan.batch_tokens:,}"

    def peak(self, phase: Phase) -> Text:
        """Of a phase; nothing where the run has no such phase."""
        planned = self.plan.phases.get(phase)
        if planned is None:
            return Text("" if self.plan.phases else "–")
        return Text(format_bytes(planned.peak_bytes), style="bold" if phase == self.largest else "")


def print_plans(report: PlanReport, console: Console) -> None:
    """The table, what to change, what was assumed, and for which device it holds."""
    lines = _lines(report)
    wide = _wide(lines, _phases(report))
    needed = Measurement.get(console, console.options.update(width=_ENDLESS), wide).maximum
    console.print(wide if needed <= console.width else _narrow(lines, console.width), crop=False)
    for text, style in _notes(report, lines):
        console.print(Text(text, style=style))


def plan_document(report: PlanReport) -> dict[str, Any]:
    """``{device, budget_bytes, runs: [{run_id, model, method, precision, seed, verdict, binding, phases, …}]}``.

    ``phases``: ``{train: {peak_bytes, seconds, terms: {weights, …}}, …}``; bytes and seconds.
    """
    return {
        "study": report.study,
        "device": report.device,
        "device_title": report.title,
        "device_from": report.device_from,
        "budget_bytes": report.budget_bytes,
        "budget_from": report.budget_from,
        "runs": [_run(spec, plan) for spec, plan in report.runs],
        "problem": report.problem,
        **({"trials": {search.first.cell: search.trials for search, _ in report.tuned}} if report.tuned else {}),
    }


def _run(spec: RunSpec, plan: Plan) -> dict[str, Any]:
    return {
        "run_id": spec.run_id,
        "model": spec.model.name,
        "method": spec.method.label,
        "precision": spec.precision,
        "augmentation": spec.augment.label if spec.augment else None,
        "seed": spec.seed,
        **plan.model_dump(mode="json", exclude={"device", "budget_bytes"}),
    }


def _lines(report: PlanReport) -> list[Line]:
    groups: dict[tuple[str, Fit, bool], list[tuple[RunSpec, Plan]]] = {}
    for spec, plan in report.runs:
        groups.setdefault((spec.cell, plan.verdict, plan.simulated), []).append((spec, plan))
    return [_line(group) for group in groups.values()]


def _line(group: Sequence[tuple[RunSpec, Plan]]) -> Line:
    plans = [plan for _, plan in group]
    seconds = [plan.seconds for plan in plans if plan.seconds is not None]
    largest = max(plans, key=lambda plan: plan.peak_bytes or 0)
    return Line(tuple(spec for spec, _ in group), largest, max(seconds, default=None))


def _seeds(seeds: Sequence[int]) -> str:
    """``seed 0``, ``seeds 0–2``, ``seeds 0, 3, 7``."""
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    if list(seeds) == list(range(seeds[0], seeds[0] + len(seeds))):
        return f"seeds {seeds[0]}–{seeds[-1]}"
    return f"seeds {', '.join(map(str, seeds))}"


def _phases(report: PlanReport) -> list[Phase]:
    """That any run has, in their order."""
    there = {phase for _, plan in report.runs for phase in plan.phases}
    return [phase for phase in get_args(Phase) if phase in there]


def _wide(lines: Sequence[Line], phases: Sequence[Phase]) -> Table:
    """A row a line, a column a phase."""
    drawn = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0))
    drawn.add_column("run", no_wrap=True)
    drawn.add_column("verdict", no_wrap=True)
    for phase in phases:
        drawn.add_column(phase, justify="right", no_wrap=True)
    drawn.add_column("mostly", no_wrap=True)
    for heading in ("tokens a pass", "time"):
        drawn.add_column(heading, justify="right", no_wrap=True)
    for line in lines:
        peaks = [line.peak(phase) for phase in phases]
        mostly = Text(line.plan.binding or "–")
        name = Text(" · ".join(line.name))
        drawn.add_row(name, line.verdict, *peaks, mostly, line.tokens, format_seconds(line.seconds))
    return drawn


def _narrow(lines: Sequence[Line], width: int) -> Table:
    """Names and phases below each other. What is left beside the numbers, which are never cut, is for the name."""
    cells = [_stacked(line) for line in lines]
    columns = zip(*cells, ("verdict", "peak", "tokens", "time"), strict=True)
    fixed = [max(len(row) for cell in column for row in cell.split("\n")) for column in columns]
    beside = sum(fixed) + _LEAST_OF_MOSTLY + _GAP * (len(_NARROW) - 1)
    names = [_broken(line, max(width - beside, _LEAST_OF_NAME)) for line in lines]
    widest = max(len(row) for name in names for row in name)
    drawn = Table(box=None, pad_edge=False, padding=(0, _GAP, 1, 0), width=max(width, widest + beside))
    for heading, least in zip(_NARROW, (widest, *fixed[:2], _LEAST_OF_MOSTLY, *fixed[2:]), strict=True):
        right = heading in ("tokens", "time")
        drawn.add_column(
            heading, justify="right" if right else "left", overflow="fold", no_wrap=heading != "mostly", min_width=least
        )
    for line, name, (verdict, peaks, tokens, time) in zip(lines, names, cells, strict=True):
        shown = Text(verdict, style=line.verdict.style)
        drawn.add_row(Text("\n".join(name)), shown, Text(peaks), Text(line.plan.binding or "–"), tokens, time)
    return drawn


def _stacked(line: Line) -> tuple[str, str, str, str]:
    """Verdict, peaks, tokens and time as they stand in a narrow table."""
    named = [f"{phase:<9}{line.peak(phase).plain:>10}" for phase in line.plan.phases]
    return line.verdict.plain.replace(" ", "\n", 1), "\n".join(named) or "–", line.tokens, format_seconds(line.seconds)


def _broken(line: Line, width: int) -> list[str]:
    """The line's name in rows of at most this width: model and method on their own, the rest together."""
    model, method, *others = line.name
    return [row for part in (model, method, " · ".join(others)) for row in _rows(part, width)]


def _rows(text: str, width: int) -> Iterator[str]:
    """Broken only at joints; a part that is longer by itself stays whole."""
    row = ""
    for part in _JOINTS.split(text):
        if row and len((row + part).rstrip()) > width:
            yield row.rstrip()
            row = ""
        row += part
    yield row.rstrip()


def _notes(report: PlanReport, lines: Sequence[Line]) -> Iterator[tuple[str, str]]:
    """Texts below the table, each with its style."""
    yield from ((text, "") for text in _told(lines, report.problem is None))
    if report.problem:
        yield f"Nothing is known: planning failed: {report.problem}", "red"
    if any(not line.plan.simulated for line in lines):
        yield f"{_BOUND.strip()} a bound: the model's own code cannot be simulated.", "dim"
    for reason in _once(_missing(report)):
        yield f"–: {reason}", "dim"
    for assumed in _once(text for _, plan in report.runs for text in plan.assumed):
        yield f"Assumed: {assumed}", "dim"
    yield from ((text, "dim") for text in _trials(report))
    yield _place(report), "dim"


def _told(lines: Sequence[Line], each: bool) -> Iterator[str]:
    """What to do where runs do not fit, and why nothing is known of others; said once for all of whom it is true.

    Args:
        each: whether what is not known has reasons of its own.
    """
    found: dict[tuple[Fit, str], list[str]] = {}
    for line in lines:
        fit = line.plan.verdict
        text = line.plan.advice if fit == "does_not_fit" else line.plan.reason if fit == "unknown" and each else None
        if text:
            found.setdefault((fit, text), []).append(" · ".join(line.name))
    for (fit, text), names in found.items():
        others = f" and {len(names) - 1} more" if len(names) > 1 else ""
        yield f"{names[0]}{others}: {FITS[fit]}{';' if fit == 'does_not_fit' else ':'} {text}"


def _trials(report: PlanReport) -> Iterator[str]:
    """What comes before the runs of methods that are tuned; a trial loads and trains, and scores nothing."""
    plans = {spec.run_id: plan for spec, plan in report.runs}
    for search, runs in report.tuned:
        longest = max((_trial_seconds(plans[run]) for run in runs if run in plans), default=0.0)
        each = f", {format_seconds(longest)} each at most" if longest else ""
        several = "one of its lines" if len(runs) > len(search.drafts) else "its line"
        yield f"{search.first.cell}: tuned. {search.trials} trials come first{each}; what they choose is {several}."


def _trial_seconds(plan: Plan) -> float:
    return sum(planned.seconds or 0.0 for phase, planned in plan.phases.items() if phase in ("load", "teach", "train"))


def _missing(report: PlanReport) -> Iterator[str]:
    """Why single numbers are missing."""
    for _, plan in report.runs:
        for phase, planned in plan.phases.items():
            if planned.reason:
                yield f"{phase}: {planned.reason}"


def _once(texts: Iterator[str]) -> list[str]:
    return list(dict.fromkeys(texts))


def _place(report: PlanReport) -> str:
    device = f"{report.title} ({report.device})" if report.title else report.device
    has = "memory unknown" if report.budget_bytes is None else f"{format_bytes(report.budget_bytes)} for each process"
    total = [plan.seconds for _, plan in report.runs]
    known = [seconds for seconds in total if seconds is not None]
    whole = len(known) == len(total) > 1 and not report.tuned  # of a method that is tuned not all lines are run
    together = f" All runs, one after the other: {format_seconds(sum(known))}." if whole else ""
    return f"Device: {device}, {report.device_from}. Budget: {has}, {report.budget_from}.{together}"
