"""Forest plot: what every method gained over the untouched model, a panel a metric."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from fairtune.report.collect import Report
from fairtune.report.comparisons import AGAINST_BASE, NOT_SHOWN, THESE_RUNS, Comparison
from fairtune.report.figures.cast import Method, is_number, left_out, methods_of, missing, plain, seed_rows, shortened
from fairtune.report.figures.figure import Figure
from fairtune.report.figures.palette import Palette
from fairtune.report.figures.panels import Mark, Page, Panel, directions, draw_page, pages_of
from fairtune.report.figures.sheet import HOLLOW, Item
from fairtune.report.names import format_score, signed

_SHAPES = {"better": "^", "worse": "v", "higher": "D", "lower": "D"}


def uplift(report: Report) -> list[Figure]:
    """One figure, or several where there are many methods or metrics."""
    found = [each for each in report.comparisons if each.family == AGAINST_BASE and is_number(each.difference)]
    methods = [method for method in methods_of(report) if any(each.a == method.cell for each in found)]
    metrics = [name for name in report.metrics if any(each.metric == name for each in found)]
    names = [method.name for method in methods]
    pages = pages_of(len(methods), len(metrics), names) if found else []
    absent = missing((each.name for each in methods_of(report) if _uncompared(each, found)), "nothing to compare with")
    out = left_out(methods_of(report))
    figures = []
    for place, (rows, panels) in enumerate(pages):
        cells = [methods[row].cell for row in rows]
        shown = [metrics[panel] for panel in panels]
        here = [each for each in found if each.a in cells and each.metric in shown]
        figures.append(
            Figure(
                name=numbered("uplift", place),
                title=titled("Gain over the untouched model", place, len(pages)),
                caption=f"{_caption(here)}{out}{absent}",
                alt=shortened(list(map(partial(sentence, report, {m.cell: m.name for m in methods}), here))),
                draw=partial(_draw, report, [names[row] for row in rows], cells, shown),
            )
        )
    return figures


def _uncompared(method: Method, found: Sequence[Comparison]) -> bool:
    return method.place is not None and bool(method.finished) and all(each.a != method.cell for each in found)


def numbered(name: str, place: int) -> str:
    """``uplift``, ``uplift-2``, …."""
    return name if place == 0 else f"{name}-{place + 1}"


def titled(title: str, place: int, pages: int) -> str:
    """With the number of the page where there are several."""
    return title if pages == 1 else f"{title} ({place + 1} of {pages})"


def _caption(found: Sequence[Comparison]) -> str:
    return (
        "Each mark is a method's score minus the untouched model's on the same items, as a mean over seeds; the bar is "
        f"its 95 % interval{speaks_of(found)}, small strokes are single seeds, and the upright line is no "
        f"difference.{hollow_said(found)}"
    )


def hollow_said(found: Iterable[Comparison]) -> str:
    """What a hollow sign is, where there is one."""
    if not any(map(is_of_these_runs, found)):
        return ""
    return " Hollow triangles and diamonds hold for these very runs: other seeds were not shown to agree."


def speaks_of(found: Sequence[Comparison]) -> str:
    """What an interval holds for."""
    about = sorted({each.about for each in found})
    two = ", thick for these very runs on other items" if any(map(_of_items, found)) else ""
    return f" (about {' or '.join(about)}{two})" if about else ""


def sentence(report: Report, names: dict[str, str], found: Comparison) -> str:
    """``chrf: lora better by …`` in words."""
    unit = plain(report.known[found.metric].unit)
    ends = ""
    if found.low is not None and found.high is not None:
        ends = f", 95 % interval {signed(found.low)} to {signed(found.high)}"
    return (
        f"{found.metric}: {names.get(found.a, found.a)} {signed(found.difference)} {unit}{ends}, "
        f"{found.verdict or 'not tested'}{' of these runs alone' if is_of_these_runs(found) else ''}."
    )


def shape_of(found: Comparison, palette: Palette) -> tuple[str, str]:
    """Colour and marker: told apart without colour too. Hollow where other seeds might not agree."""
    colours = {"better": palette.better, "worse": palette.worse, "higher": palette.ink, "lower": palette.ink}
    shape = _SHAPES.get(found.verdict)
    if shape is None:
        return palette.unsure, HOLLOW
    return colours[found.verdict], f"{HOLLOW} {shape}" if is_of_these_runs(found) else shape


def is_of_these_runs(found: Comparison) -> bool:
    """Whether a verdict says nothing of other seeds, though another seed would have given another result."""
    return found.verdict in _SHAPES and bool(found.seeds) and found.about == THESE_RUNS


_NEITHER = "higher or lower, neither is better"
_WORDS = {"better": "better", "worse": "worse", "higher": _NEITHER, "lower": _NEITHER}


def verdict_legend(found: Iterable[Comparison], palette: Palette) -> tuple[Item, ...]:
    """The verdicts that are there."""
    items: dict[str, tuple[str, str]] = {}
    for each in found:
        words = _WORDS.get(each.verdict, NOT_SHOWN)
        items[f"{words}: these runs alone" if is_of_these_runs(each) else words] = shape_of(each, palette)
    order = [f"{words}{more}" for words in _WORDS.values() for more in ("", ": these runs alone")]
    return tuple(
        (items[words][1], items[words][0], words) for words in dict.fromkeys([*order, NOT_SHOWN]) if words in items
    )


def _draw(report: Report, names: Sequence[str], cells: Sequence[str], metrics: Sequence[str], palette: Palette) -> Any:
    found = [each for each in report.comparisons if each.family == AGAINST_BASE and each.a in cells]
    shown = [each for each in found if each.metric in metrics and is_number(each.difference)]
    panels = [
        panel(report, name, [each for each in shown if each.metric == name], list(cells), palette) for name in metrics
    ]
    return draw_page(Page(tuple(names), tuple(panels), verdict_legend(shown, palette)), palette)


def panel(report: Report, name: str, found: Sequence[Comparison], cells: Sequence[str], palette: Palette) -> Panel:
    """Of one metric; the note says what the untouched model scores."""
    metric = report.known[name]
    marks = [mark_of(each, cells.index(each.a), palette, _seeds(report, each)) for each in found]
    base = _base_value(report, name, found)
    note = f"base {format_score(base)} · {plain(metric.unit)}" if base is not None else plain(metric.unit)
    return Panel(plain(name), note, directions(metric), tuple(marks), line=0.0, signed=True)


def mark_of(found: Comparison, row: int, palette: Palette, seeds: tuple[float, ...] = ()) -> Mark:
    """With both intervals, where there is one of these very runs and one that speaks of other seeds too."""
    colour, marker = shape_of(found, palette)
    return Mark(row, found.difference, colour, marker, found.low, found.high, seeds, inner=_of_items(found))


def _of_items(found: Comparison) -> tuple[float, float] | None:
    """None where the interval speaks of these runs anyway."""
    low, high = found.low_items, found.high_items
    if low is None or high is None or not (is_number(low) and is_number(high)):
        return None
    return None if (low, high) == (found.low, found.high) else (low, high)


def _seeds(report: Report, found: Comparison) -> tuple[float, ...]:
    rows = seed_rows(report).get(found.a, [])
    gains = (row.uplift.get(found.metric) for row in rows)
    return tuple(gain.difference for gain in gains if gain and is_number(gain.difference))


def _base_value(report: Report, name: str, found: Sequence[Comparison]) -> float | None:
    """None where methods are compared with several."""
    bases = {each.b for each in found}
    values = [row.values[name].value for row in report.rows if row.spec.cell in bases and name in row.values]
    return values[0] if len(bases) == 1 and values and is_number(values[0]) else None
