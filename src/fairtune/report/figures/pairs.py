"""Trained methods against each other: a forest plot where there are few pairs, else a square of verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from fairtune.report.collect import Report
from fairtune.report.comparisons import AMONG_METHODS, AMONG_PRECISIONS, Comparison
from fairtune.report.figures.cast import is_number, left_out, methods_of, plain, shortened
from fairtune.report.figures.figure import Figure
from fairtune.report.figures.palette import Palette
from fairtune.report.figures.panels import Page, Panel, directions, draw_page, pages_of
from fairtune.report.figures.sheet import (
    HOLLOW,
    TEXT,
    WIDE,
    cut,
    legend,
    legend_height,
    marking,
    sheet,
    text_width,
    write,
)
from fairtune.report.figures.uplift import (
    hollow_said,
    mark_of,
    numbered,
    sentence,
    shape_of,
    speaks_of,
    titled,
    verdict_legend,
)
from fairtune.report.names import JOINT

_FEW = 15
_FAMILIES = (AMONG_METHODS, AMONG_PRECISIONS)
_TITLE = "Trained methods against each other"
_CELL, _HEAD, _FOOT, _GAP, _NAMES = 18.0, 44.0, 14.0, 18.0, 210.0
_TALLEST = 820


def pairs(report: Report) -> list[Figure]:
    """Where two methods were trained."""
    found = [each for each in report.comparisons if each.family in _FAMILIES and is_number(each.difference)]
    couples = list(dict.fromkeys((each.a, each.b) for each in found))
    metrics = [name for name in report.metrics if any(each.metric == name for each in found)]
    if not couples:
        return []
    return (_forests if len(couples) <= _FEW else _squares)(report, found, couples, metrics)


Couples = Sequence[tuple[str, str]]


def _forests(report: Report, found: Sequence[Comparison], couples: Couples, metrics: Sequence[str]) -> list[Figure]:
    names = _names(report)
    rows = [_minus(names[a], names[b]) for a, b in couples]
    pages = pages_of(len(rows), len(metrics), rows)
    caption = (
        "Each mark is the first method's score minus the second's on the same items, as a mean over seeds; the bar is "
        f"its 95 % interval{speaks_of(found)}, and the upright line is no difference."
        f"{hollow_said(found)}{left_out(methods_of(report))}"
    )
    figures = []
    for place, (block, panels) in enumerate(pages):
        here = [couples[row] for row in block]
        shown = [
            each for each in found if (each.a, each.b) in here and each.metric in metrics[panels.start : panels.stop]
        ]
        draw = partial(
            _draw_forest, report, [rows[row] for row in block], here, [metrics[panel] for panel in panels], shown
        )
        figures.append(
            Figure(numbered("pairs", place), titled(_TITLE, place, len(pages)), caption, _said(report, shown), draw)
        )
    return figures


def _names(report: Report) -> dict[str, str]:
    return {method.cell: method.name for method in methods_of(report)}


def _minus(first: str, second: str) -> str:
    """``lora − full · model``: what both have in common is said once."""
    ours, theirs = first.split(JOINT), second.split(JOINT)
    common = [part for part in ours if part in theirs]
    alone = [JOINT.join(part for part in parts if part not in common) for parts in (ours, theirs)]
    return JOINT.join([" − ".join(alone), *common])


def _said(report: Report, found: Sequence[Comparison]) -> str:
    names = _names(report)
    both = {f"{a}": name for a, name in names.items()}
    return shortened(
        [sentence(report, {**both, each.a: f"{names[each.a]} minus {names[each.b]}"}, each) for each in found]
    )


def _draw_forest(
    report: Report,
    names: Sequence[str],
    couples: Couples,
    metrics: Sequence[str],
    found: Sequence[Comparison],
    palette: Palette,
) -> Any:
    panels = []
    for name in metrics:
        marks = [mark_of(each, couples.index((each.a, each.b)), palette) for each in found if each.metric == name]
        metric = report.known[name]
        panels.append(Panel(plain(name), plain(metric.unit), directions(metric), tuple(marks), line=0.0, signed=True))
    return draw_page(Page(tuple(names), tuple(panels), verdict_legend(found, palette)), palette)


def _squares(report: Report, found: Sequence[Comparison], couples: Couples, metrics: Sequence[str]) -> list[Figure]:
    """A square a metric, two side by side."""
    order = [method.cell for method in methods_of(report) if any(method.cell in couple for couple in couples)]
    most = 2 * max(1, int(_TALLEST // (_HEAD + _FOOT + _CELL * len(order))))
    groups = [metrics[first : first + most] for first in range(0, len(metrics), most)]
    caption = (
        "Each sign says how the row's method does against the column's (numbered as the rows) on the same items, "
        f"as a mean over seeds{speaks_of(found)}; p-values are adjusted for all these pairs."
        f"{hollow_said(found)}{left_out(methods_of(report))}"
    )
    figures = []
    for place, group in enumerate(groups):
        shown = [each for each in found if each.metric in group]
        figures.append(
            Figure(
                name=numbered("pairs", place),
                title=titled(_TITLE, place, len(groups)),
                caption=caption,
                alt=shortened([_counted(report, name, shown) for name in group]),
                draw=partial(_draw_squares, report, order, group, shown),
            )
        )
    return figures


def _counted(report: Report, name: str, found: Sequence[Comparison]) -> str:
    """Who is better than how many others."""
    names = _names(report)
    wins: dict[str, int] = {}
    pairs_of = [each for each in found if each.metric == name]
    for each in pairs_of:
        if each.verdict in ("better", "worse"):
            winner = each.a if each.verdict == "better" else each.b
            wins[winner] = wins.get(winner, 0) + 1
    best = sorted(wins, key=lambda cell: -wins[cell])[:3]
    told = ", ".join(f"{names[cell]} than {wins[cell]}" for cell in best)
    shown = f"better are {told} others" if told else "no pair differs in a way that is better"
    return f"{plain(name)}, {len(pairs_of)} pairs: {shown}."


def _draw_squares(
    report: Report, order: Sequence[str], metrics: Sequence[str], found: Sequence[Comparison], palette: Palette
) -> Any:
    names = [cut(_names(report)[cell], _NAMES - 40) for cell in order]
    column = max(map(text_width, names)) + 44
    cell = min(_CELL, (WIDE - column - 12 - _GAP) / 2 / len(order))
    side = cell * len(order)
    block = _HEAD + side + _FOOT
    lines = -(-len(metrics) // 2)
    both = [*found, *map(_turned, found)]
    items = verdict_legend(both, palette)
    on = sheet(WIDE, block * lines + legend_height(items, WIDE - 24) + 8, palette)
    for index, name in enumerate(metrics):
        line, place = divmod(index, 2)
        left, top = column + place * (side + _GAP), block * line + _HEAD
        if place == 0:
            for row, text in enumerate(names):
                y = top + (row + 0.5) * cell
                write(on, column - 30, y, text, palette, color=palette.ink, ha="right")
                write(on, column - 8, y, str(row + 1), palette, ha="right", fontsize=9)
        write(
            on, left, top - 31, cut(plain(name), side, TEXT), palette, color=palette.ink, fontsize=TEXT, weight="bold"
        )
        for number in range(len(order)):
            write(on, left + (number + 0.5) * cell, top - 9, str(number + 1), palette, ha="center", fontsize=9)
        _square(on, left, top, side, order, [each for each in found if each.metric == name], palette)
    legend(on, 12, block * lines, WIDE - 24, items, palette)
    return on


_OTHER_WAY = {"better": "worse", "worse": "better", "higher": "lower", "lower": "higher"}


def _square(
    on: Any, left: float, top: float, side: float, order: Sequence[str], found: Sequence[Comparison], palette: Palette
) -> None:
    from fairtune.report.figures.sheet import axes

    frame = axes(on, left, top, side, side, palette)
    count = len(order)
    frame.set(xlim=(0, count), ylim=(count, 0), xticks=[], yticks=[])
    for place in range(count + 1):
        frame.plot([0, count], [place, place], color=palette.grid, linewidth=0.8, clip_on=False)
        frame.plot([place, place], [0, count], color=palette.grid, linewidth=0.8, clip_on=False)
    frame.spines["bottom"].set_visible(False)
    places: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for each in found:
        row, column = order.index(each.a) + 0.5, order.index(each.b) + 0.5
        places.setdefault(shape_of(each, palette), []).append((column, row))
        places.setdefault(shape_of(_turned(each), palette), []).append((row, column))
    for (colour, marker), spots in places.items():
        xs, ys = zip(*spots, strict=True)
        style = marking(marker, colour, palette.surface)
        if marker.startswith(HOLLOW):
            style |= {"markersize": 4 if marker == HOLLOW else 5, "mew": 1.2}
        frame.plot(xs, ys, linestyle="none", clip_on=False, **style)


def _turned(found: Comparison) -> Comparison:
    """As the second sees it."""
    return replace(found, verdict=_OTHER_WAY.get(found.verdict, found.verdict))
