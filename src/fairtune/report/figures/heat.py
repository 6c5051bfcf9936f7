"""A table of shares as shades, with its numbers where there is room for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fairtune.report.figures.cast import is_number
from fairtune.report.figures.palette import Palette
from fairtune.report.figures.sheet import NARROW, SMALL, TEXT, WIDE, axes, cut, ended, sheet, text_width, write

ROWS, COLUMNS = 60, 16
"""As many as a picture holds."""
_SHADES, _FAINTEST, _DARKEST = 20, 0.05, 0.75
_NUMBERS = 330
_FEW = 6


@dataclass(frozen=True)
class Heat:
    """``values[row][column]``; None where there is no number. ``what``: they are."""

    what: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: tuple[tuple[float | None, ...], ...]

    @property
    def ends(self) -> tuple[float, float]:
        """Smallest and largest; of shares at least from 0 to 1."""
        known = [value for row in self.values for value in row if value is not None and is_number(value)]
        low, high = min(known), max(known)
        if low >= 0 and high <= 1:
            return 0.0, 1.0
        return (low, high) if high > low else (low, low + 1)


def draw_heat(heat: Heat, palette: Palette) -> Any:
    """The figure: wide where there are many columns."""
    width = NARROW if len(heat.columns) <= _FEW else WIDE
    names = [cut(name, 150) for name in heat.rows]
    left = max(map(text_width, names)) + 22
    cell = min((width - left - 12) / len(heat.columns), 110)
    upright = max(map(text_width, heat.columns)) > cell - 6
    heads = [cut(name, 150 if upright else cell) for name in heat.columns]
    top = 34 + (max(map(text_width, heads)) + 6 if upright else 16)
    height = 20.0
    tall = height * len(names)
    on = sheet(width, top + tall + 40, palette)
    write(on, 12, 12, cut(heat.what, width - 24, TEXT), palette, color=palette.ink, fontsize=TEXT, weight="bold")
    for column, head in enumerate(heads):
        x = left + (column + 0.5) * cell
        style = {"rotation": 90, "va": "bottom"} if upright else {"va": "bottom"}
        write(on, x, top - 5, head, palette, color=palette.ink, ha="center", **style)
    for row, name in enumerate(names):
        write(on, left - 8, top + (row + 0.5) * height, name, palette, color=palette.ink, ha="right")
    frame = axes(on, left, top, cell * len(heads), tall, palette)
    _cells(frame, heat, cell, palette)
    _scale(on, heat, left, top + tall + 22, palette)
    return on


def _cells(frame: Any, heat: Heat, cell: float, palette: Palette) -> None:
    """All of a shade are one path, so that a large table is a small file."""
    columns, rows = len(heat.columns), len(heat.rows)
    frame.set(xlim=(0, columns), ylim=(rows, 0), xticks=[], yticks=[])
    frame.spines["bottom"].set_visible(False)
    shades: dict[int, list[tuple[int, int]]] = {}
    numbers = columns * rows <= _NUMBERS and cell >= 27
    for row, line in enumerate(heat.values):
        for column, value in enumerate(line):
            if value is None or not is_number(value):
                style = {"color": palette.muted, "fontsize": 9}
                frame.text(column + 0.5, row + 0.5, "–", ha="center", va="center", **style)
                continue
            shades.setdefault(_shade(value, *heat.ends), []).append((row, column))
            if numbers:
                style = {"color": palette.ink, "fontsize": 9.5}
                frame.text(column + 0.5, row + 0.5, _short(value), ha="center", va="center", **style)
    for shade, places in sorted(shades.items()):
        frame.add_patch(_boxes([(column, row) for row, column in places], shade, palette))


def _shade(value: float, low: float, high: float) -> int:
    return round((value - low) / (high - low) * _SHADES)


def _boxes(corners: Sequence[tuple[float, float]], shade: int, palette: Palette, room: float = 0.04) -> Any:
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    vertices, codes = [], []
    for x, y in corners:
        low, high = room / 2, 1 - room / 2
        vertices += [(x + low, y + low), (x + high, y + low), (x + high, y + high), (x + low, y + high), (x, y)]
        codes += [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY]
    alpha = _FAINTEST + (_DARKEST - _FAINTEST) * shade / _SHADES
    return PathPatch(Path(vertices, codes), facecolor=palette.series[0], edgecolor="none", alpha=alpha, clip_on=False)


def _scale(on: Any, heat: Heat, left: float, y: float, palette: Palette) -> None:
    """What the shades mean."""
    low, high = heat.ends
    first = _short(low)
    write(on, left, y, first, palette)
    start = left + text_width(first) + 8
    frame = axes(on, start, y - 6, 90, 12, palette)
    frame.set(xlim=(0, 6), ylim=(0, 1), xticks=[], yticks=[])
    frame.spines["bottom"].set_visible(False)
    for step in range(6):
        frame.add_patch(_boxes([(step, 0)], round(step / 5 * _SHADES), palette))
    write(on, start + 98, y, ended(_short(high), 80, SMALL), palette)


def _short(value: float) -> str:
    """``.83``-like: two digits of a share."""
    text = f"{value:.2f}" if abs(value) < 10 else f"{value:.0f}"
    return text.replace("-", "−")
