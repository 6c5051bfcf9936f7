"""The main table: methods and metrics, each number with its interval, its gain and what is known of that."""

from __future__ import annotations

from dataclasses import dataclass

from fairtune.evaluate.metrics import Metric
from fairtune.records import MetricValue
from fairtune.report.cells import mark_of
from fairtune.report.collect import Report, Row
from fairtune.report.comparisons import Comparison
from fairtune.report.html.groups import Group, groups, seeds_of
from fairtune.report.html.names import TONES, count, interval, method_name
from fairtune.report.html.statistics import Facts, against_base, facts_of
from fairtune.report.names import DASH, format_score, signed

_WIDTH = 100.0
"""Of the small drawing of an interval."""


@dataclass(frozen=True)
class Strip:
    """Where value, interval and the untouched model's value lie on the metric's scale: 0 to 100."""

    value: float
    low: float | None
    high: float | None
    base: float | None


@dataclass(frozen=True)
class Score:
    """A cell. ``facts`` are for who wants to know more."""

    text: str
    sort: float | None = None
    ends: str = ""
    gain: str = ""
    mark: str = ""
    verdict: str = ""
    tone: str = ""
    best: bool = False
    strip: Strip | None = None
    facts: Facts = ()


@dataclass(frozen=True)
class Line:
    """A row of the table: a method, or one of its runs. ``reason`` says why there are no numbers."""

    name: str
    seeds: str
    status: str
    reason: str
    scores: tuple[Score, ...]
    runs: tuple[Line, ...] = ()


@dataclass(frozen=True)
class Scale:
    """Of a metric: the smallest and largest number of the table, and the best value."""

    low: float
    high: float
    best: float | None

    def at(self, value: float | None) -> float | None:
        """0 to 100."""
        if value is None or self.high <= self.low:
            return None
        return round(_WIDTH * (value - self.low) / (self.high - self.low), 1)


def quality_lines(report: Report) -> list[Line]:
    """A line for each method, with its runs behind it."""
    found, compared = groups(report), against_base(report)
    scales = {name: _scale([group.lead for group in found], name, report.known[name]) for name in report.metrics}
    bases = {(group.lead.spec.model, group.lead.spec.precision): group.lead for group in found if _is_base(group)}

    def line(row: Row, seeds: str, runs: tuple[Line, ...] = ()) -> Line:
        base = bases.get((row.spec.model, row.spec.precision))
        cells = tuple(_score(row, name, scales[name], base, compared) for name in report.metrics)
        first = row.entries[0]
        status = "ok" if row.mean else first.status
        reason = "" if status == "ok" else first.reason or "not run yet"
        return Line(method_name(row.spec, report), seeds, status, reason, cells, runs)

    return [
        line(group.lead, seeds_of(group), tuple(line(row, f"seed {row.seed}") for row in group.runs)) for group in found
    ]


def _is_base(group: Group) -> bool:
    return not group.lead.spec.method.trains and group.lead.entries[0].ok


def _value(row: Row, name: str) -> MetricValue | None:
    found = row.values.get(name)
    return found if found and found.value is not None else None


def _scale(rows: list[Row], name: str, metric: Metric) -> Scale:
    found = [value for row in rows if (value := _value(row, name))]
    numbers = [number for value in found for number in (value.value, value.low, value.high) if number is not None]
    values = [value.value for value in found if value.value is not None]
    best = None
    if metric.higher_is_better is not None and len(set(values)) > 1:
        best = max(values) if metric.higher_is_better else min(values)
    return Scale(min(numbers, default=0.0), max(numbers, default=0.0), best)


def _score(
    row: Row, name: str, scale: Scale, base: Row | None, compared: dict[tuple[str, tuple[str, ...]], Comparison]
) -> Score:
    value = _value(row, name)
    if value is None or value.value is None:
        return Score(DASH)
    gain = row.uplift.get(name)
    told = compared.get((name, tuple(entry.spec.run_id for entry in row.entries)))
    low = base.values.get(name) if base else None
    at = scale.at(value.value)
    drawn = at is not None and 0 <= at <= _WIDTH
    return Score(
        text=format_score(value.value),
        sort=value.value,
        ends=interval(value.low, value.high),
        gain=f"Δ {signed(gain.difference)}" if gain else "",
        mark=mark_of(told) if told else "",
        verdict=told.verdict if told else "",
        tone=TONES.get(told.verdict, "unsure") if told else "",
        best=scale.best is not None and value.value == scale.best,
        strip=_strip(value, scale, low.value if low else None) if drawn else None,
        facts=(*(facts_of(told) if told else ()), *_about(value)),
    )


def _strip(value: MetricValue, scale: Scale, base: float | None) -> Strip:
    ends = [None if end is None else min(_WIDTH, max(0.0, end)) for end in map(scale.at, (value.low, value.high))]
    return Strip(scale.at(value.value) or 0.0, ends[0], ends[1], scale.at(base))


def _about(value: MetricValue) -> Facts:
    """The number itself."""
    said = f"{format_score(value.value)} {interval(value.low, value.high)}"
    told = [("Value", said), ("Items", count(value.n)), ("Interval of the value", value.interval)]
    return tuple(told + ([("No interval", value.reason)] if value.reason and value.low is None else []))
