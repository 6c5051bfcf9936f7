"""Every seed's score: how much of a difference is the luck of a seed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from fairtune.report.collect import Report
from fairtune.report.figures.cast import Method, is_number, left_out, methods_of, missing, plain, shortened
from fairtune.report.figures.figure import Figure
from fairtune.report.figures.palette import Palette
from fairtune.report.figures.panels import Mark, Page, Panel, directions, draw_page, pages_of
from fairtune.report.figures.uplift import numbered, titled
from fairtune.report.names import format_score


def seeds(report: Report) -> list[Figure]:
    """Of methods with more than one seed."""
    methods = [method for method in methods_of(report) if len(method.finished) > 1]
    metrics = [name for name in report.metrics if any(len(_scores(method, name)) > 1 for method in methods)]
    names = [method.name for method in methods]
    pages = pages_of(len(methods), len(metrics), names) if metrics else []
    single = [each.name for each in methods_of(report) if each.place is not None and len(each.finished) == 1]
    caption = (
        "Each dot is one seed of a method, the stroke their mean, and the upright line, where there is one, the "
        f"untouched model: what dots differ by is no merit of the method.{left_out(methods_of(report))}"
        f"{missing(single, 'one seed')}"
    )
    figures = []
    for place, (rows, panels) in enumerate(pages):
        here, shown = [methods[row] for row in rows], [metrics[panel] for panel in panels]
        figures.append(
            Figure(
                name=numbered("seeds", place),
                title=titled("Score of every seed", place, len(pages)),
                caption=caption,
                alt=shortened([_said(method, name) for name in shown for method in here if _scores(method, name)]),
                draw=partial(_draw, report, here, shown),
            )
        )
    return figures


def _scores(method: Method, name: str) -> list[float]:
    return method.numbers(lambda record: record.metrics[name].value if name in record.metrics else None)


def _said(method: Method, name: str) -> str:
    numbers = _scores(method, name)
    return (
        f"{plain(name)}: {method.name} from {format_score(min(numbers))} to {format_score(max(numbers))} over "
        f"{len(numbers)} seeds."
    )


def _draw(report: Report, methods: Sequence[Method], metrics: Sequence[str], palette: Palette) -> Any:
    panels = tuple(_panel(report, methods, name, palette) for name in metrics)
    return draw_page(Page(tuple(method.name for method in methods), panels), palette)


def _panel(report: Report, methods: Sequence[Method], name: str, palette: Palette) -> Panel:
    marks = []
    for row, method in enumerate(methods):
        numbers = _scores(method, name)
        if numbers:
            mean = sum(numbers) / len(numbers)
            marks.append(Mark(row, mean, method.colour(palette), "|", faint=tuple(numbers), faint_marker="o"))
    bases = [each for each in methods_of(report) if each.place is None]
    base = _scores(bases[0], name) if len(bases) == 1 else []
    metric = report.known[name]
    line = base[0] if base and is_number(base[0]) else None
    note = f"base {format_score(line)} · {plain(metric.unit)}" if line is not None else plain(metric.unit)
    return Panel(plain(name), note, directions(metric), tuple(marks), line=line)
