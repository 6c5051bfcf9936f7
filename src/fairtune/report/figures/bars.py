"""Rows of bars or boxes with their names: what memory, leakage and lengths have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fairtune.report.figures.palette import Palette
from fairtune.report.figures.sheet import NARROW, axes, sheet, text_width, wrapped, write

_TOP, _BOTTOM = 12.0, 44.0


@dataclass(frozen=True)
class Rows:
    """A sheet with a frame whose rows are a unit high, from above; ``beyond``: its foot, for a legend."""

    on: Any
    frame: Any
    left: float
    width: float
    beyond: float


def rows_of(names: Sequence[str], palette: Palette, below: float = 0.0, aside: float = 0.0, top: float = _TOP) -> Rows:
    """Names at the left; ``below``: pixels for a legend, ``aside``: for words at the right."""
    shown = [wrapped(name, 150, lines=2) for name in names]
    left = max(text_width(line) for name in shown for line in name.split("\n")) + 22
    height = 34.0 if any("\n" in name for name in shown) else 26.0
    tall = height * len(names)
    on = sheet(NARROW, top + tall + _BOTTOM + below, palette)
    width = NARROW - left - 14 - aside
    frame = axes(on, left, top, width, tall, palette, grid="x")
    frame.set_ylim(len(names), 0)
    frame.set_yticks([])
    for row, name in enumerate(shown):
        y = top + (row + 0.5) * height
        write(on, left - 10, y, name, palette, color=palette.ink, ha="right", linespacing=1.1)
    return Rows(on, frame, left, width, top + tall + _BOTTOM)
