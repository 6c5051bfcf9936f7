"""Panels side by side that share the names of their rows: a panel a metric, each with a scale of its own."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fairtune.evaluate.metrics import Metric
from fairtune.report.figures.cast import is_number
from fairtune.report.figures.palette import Palette
from fairtune.report.figures.sheet import (
    NARROW,
    SMALL,
    TEXT,
    Item,
    axes,
    cut,
    ended,
    legend,
    legend_height,
    marking,
    number,
    outliers,
    sheet,
    span,
    text_width,
    ticks,
    without_edges,
    wrapped,
    write,
)

_NAMES = 144
_TOP, _BOTTOM, _GAP = 36, 40, 16
_TALLEST = 760
_ROWS = 20


@dataclass(frozen=True)
class Mark:
    """A row's number, its interval, a narrower one within, and faint points. ``colour`` and ``marker`` as drawn."""

    row: int
    x: float
    colour: str
    marker: str
    low: float | None = None
    high: float | None = None
    faint: tuple[float, ...] = ()
    faint_marker: str = "|"
    inner: tuple[float, float] | None = None

    @property
    def reach(self) -> list[float]:
        """Everything that must lie within the axis."""
        return [x for x in (self.x, self.low, self.high, *self.faint) if x is not None and is_number(x)]


@dataclass(frozen=True)
class Panel:
    """A metric. ``line``: where a line stands upright; ``signed``: numbers are differences."""

    title: str
    note: str
    better: tuple[str, str]
    marks: tuple[Mark, ...]
    line: float | None = None
    signed: bool = False


@dataclass(frozen=True)
class Page:
    """What one figure holds. Rows of a mark count from 0 in ``names``."""

    names: tuple[str, ...]
    panels: tuple[Panel, ...]
    legend: tuple[Item, ...] = ()


def directions(metric: Metric) -> tuple[str, str]:
    """What stands at both ends of a metric's axis."""
    if metric.higher_is_better is None:
        return ("", "")
    return ("", "better →") if metric.higher_is_better else ("← better", "")


def pages_of(rows: int, panels: int, names: Sequence[str]) -> list[tuple[range, range]]:
    """Which rows and which panels stand on each page, so that none is taller than a screen or two."""
    blocks = [range(first, min(first + _even(rows, _ROWS), rows)) for first in range(0, rows, _even(rows, _ROWS))]
    found: list[tuple[range, range]] = []
    for block in blocks:
        height = sum(_row_heights([names[row] for row in block])) + _TOP + _BOTTOM
        most = 2 * max(1, int(_TALLEST // height))
        step = _even(panels, most)
        step += step % 2 if step < panels else 0
        found += [(block, range(first, min(first + step, panels))) for first in range(0, panels, step)]
    return found


def _even(count: int, most: int) -> int:
    """So many at a time, that the last page is not much emptier than the others."""
    pages = -(-count // most)
    return -(-count // max(pages, 1)) or 1


def draw_page(page: Page, palette: Palette) -> Any:
    """The figure."""
    heights = _row_heights(page.names)
    column = max((text_width(line) for name in page.names for line in _name(name).split("\n")), default=0) + 22
    columns = 1 if len(page.panels) == 1 else 2
    block = _TOP + sum(heights) + _BOTTOM
    below = legend_height(page.legend, NARROW - 16)
    on = sheet(NARROW, block * -(-len(page.panels) // columns) + below + 10, palette)
    width = (NARROW - column - 12 - _GAP * (columns - 1)) / columns
    for index, panel in enumerate(page.panels):
        line, place = divmod(index, columns)
        top = block * line
        if place == 0:
            _names(on, page, heights, column, top + _TOP, palette)
        left = column + place * (width + _GAP)
        frame = axes(on, left, top + _TOP, width, sum(heights), palette, grid="x")
        _panel(frame, panel, heights, palette)
        _words(on, panel, left, top, width, sum(heights), palette)
    legend(on, 8, block * -(-len(page.panels) // columns), NARROW - 16, page.legend, palette)
    return on


def _name(name: str) -> str:
    return wrapped(name, _NAMES)


def _row_heights(names: Sequence[str]) -> list[float]:
    return [10.0 + 13.0 * (1 + _name(name).count("\n")) for name in names]


def _middles(heights: Sequence[float]) -> list[float]:
    ends = list(itertools.accumulate(heights))
    return [end - height / 2 for end, height in zip(ends, heights, strict=True)]


def _names(on: Any, page: Page, heights: Sequence[float], column: float, top: float, palette: Palette) -> None:
    for name, middle in zip(page.names, _middles(heights), strict=True):
        write(on, column - 10, top + middle, _name(name), palette, color=palette.ink, ha="right", linespacing=1.15)


def _panel(frame: Any, panel: Panel, heights: Sequence[float], palette: Palette) -> None:
    middles = _middles(heights)
    near = _near(panel)
    reach = [x for mark in near for x in mark.reach] + ([panel.line] if panel.line is not None else [])
    frame.set_xlim(*span(reach))
    frame.set_ylim(sum(heights), 0)
    frame.set_yticks([])
    ticks(frame.xaxis, 4 if frame.get_position().width < 0.5 else 6, panel.signed)
    without_edges(frame, panel.signed)
    if panel.line is not None:
        frame.axvline(panel.line, color=palette.muted, linewidth=1.2, zorder=1.5)
    for mark in panel.marks:
        y = middles[mark.row]
        if mark not in near:
            _point_beyond(frame, mark, y, panel.signed)
        if mark.faint:
            style = {"markersize": 9, "mew": 1.2} if mark.faint_marker == "|" else {"markersize": 5, "mew": 0}
            frame.plot(
                mark.faint, [y] * len(mark.faint), mark.faint_marker, color=mark.colour, alpha=0.55, zorder=2, **style
            )
        if mark.low is not None and mark.high is not None and is_number(mark.low) and is_number(mark.high):
            thin = 1.2 if mark.inner else 2
            frame.plot(
                [mark.low, mark.high], [y, y], color=mark.colour, linewidth=thin, solid_capstyle="butt", zorder=3
            )
        if mark.inner:
            frame.plot(mark.inner, [y, y], color=mark.colour, linewidth=3.6, solid_capstyle="butt", zorder=3)
        frame.plot([mark.x], [y], linestyle="none", zorder=4, **marking(mark.marker, mark.colour, palette.surface))


def _near(panel: Panel) -> list[Mark]:
    """Marks that the axis is made for: one run that went wrong must not press all others together."""
    centre = panel.line if panel.signed else None
    far = outliers([mark.reach for mark in panel.marks], centre)
    return [mark for place, mark in enumerate(panel.marks) if place not in far]


def _point_beyond(frame: Any, mark: Mark, y: float, signed: bool) -> None:
    """An arrow at the edge with the number, for a mark that lies outside."""
    low, high = frame.get_xlim()
    if low <= mark.x <= high:
        return
    right = mark.x > high
    text = f"{number(_rounded(mark.x), signed)} →" if right else f"← {number(_rounded(mark.x), signed)}"
    side = "right" if right else "left"
    frame.text(high if right else low, y, text, color=mark.colour, fontsize=SMALL, ha=side, va="center", zorder=5)


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


def _words(on: Any, panel: Panel, left: float, top: float, width: float, height: float, palette: Palette) -> None:
    write(on, left, top + 11, cut(panel.title, width, TEXT), palette, color=palette.ink, fontsize=TEXT, weight="bold")
    if panel.note:
        write(on, left, top + 26, ended(panel.note, width, SMALL - 0.5), palette, fontsize=SMALL - 0.5)
    below = top + _TOP + height + 26
    write(on, left, below, panel.better[0], palette)
    write(on, left + width, below, panel.better[1], palette, ha="right")
