"""How long answers are, beside the references."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from fairtune.errors import RecordError
from fairtune.records import read_lines
from fairtune.report.collect import Report
from fairtune.report.figures.bars import rows_of
from fairtune.report.figures.cast import Method, left_out, methods_of, missing, shortened
from fairtune.report.figures.figure import Figure
from fairtune.report.figures.palette import Palette
from fairtune.report.figures.sheet import log_ticks, ticks, write

_SHARES = (5, 25, 50, 75, 95)
_LOG = 20
_ROWS = 20

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Lengths:
    """Percentiles 5, 25, 50, 75, 95 of characters; the share that was cut off, where it is known."""

    name: str
    at: tuple[float, ...]
    cut: float | None
    method: Method | None = None


def lengths(report: Report) -> list[Figure]:
    """Where answers were written, not chosen."""
    name = next((name for name in report.metrics if report.known[name].needs == "generation"), None)
    if name is None:
        return []
    writers = [method for method in methods_of(report) if method.finished and _writes(method)]
    read = [(method, _answers(method, name)) for method in writers]
    found = [_lengths(method, answers) for method, answers in read if answers]
    references = next(([len(line["reference"]) for line in answers] for _, answers in read if answers), [])
    absent = [method.name for method, answers in read if not answers]
    if not found:
        return []
    rows = [Lengths("references", _percentiles(references), None), *found]
    caption = (
        "Characters of the answers to the test items, all seeds together: the box holds the middle half, its line is "
        "the median, thin lines reach from the 5th to the 95th percentile; at the right is the share that was cut off "
        f"at max_new_tokens.{left_out(methods_of(report))}{missing(absent, 'no answers to read')}"
    )
    alt = shortened([_said(row) for row in rows])
    blocks = [[rows[0], *found[first : first + _ROWS]] for first in range(0, len(found), _ROWS)]
    return [
        Figure(
            "lengths" if place == 0 else f"lengths-{place + 1}",
            "Length of answers" if len(blocks) == 1 else f"Length of answers ({place + 1} of {len(blocks)})",
            caption,
            alt,
            partial(_draw, block),
        )
        for place, block in enumerate(blocks)
    ]


def _writes(method: Method) -> bool:
    return method.entries[0].spec.task.task.predict == "generate"


def _answers(method: Method, metric: str) -> list[dict[str, Any]]:
    """The lines of a metric that is made of answers; none where a run's file cannot be read."""
    try:
        lines = [line for entry, _ in method.finished for line in read_lines(entry.folder.examples(metric))]
    except RecordError:
        return []
    return [line for line in lines if isinstance(line.get("output"), str) and isinstance(line.get("reference"), str)]


def _lengths(method: Method, lines: Sequence[dict[str, Any]]) -> Lengths:
    known = [line["stopped"] for line in lines if isinstance(line.get("stopped"), bool)]
    share = known.count(False) / len(known) if known else None
    return Lengths(method.name, _percentiles([len(line["output"]) for line in lines]), share, method)


def _percentiles(numbers: Sequence[int]) -> tuple[float, ...]:
    return tuple(float(value) for value in np.percentile(np.array(numbers, dtype=np.float64), _SHARES))


def _said(row: Lengths) -> str:
    off = f", {row.cut:.0%} cut off".replace("%", " %") if row.cut is not None else ""
    return f"{row.name}: median of {row.at[2]:.0f} characters, 90 % between {row.at[0]:.0f} and {row.at[4]:.0f}{off}."


def _draw(rows: Sequence[Lengths], palette: Palette) -> Any:
    laid = rows_of([row.name for row in rows], palette, aside=48, top=30)
    frame = laid.frame
    largest = max(row.at[-1] for row in rows)
    smallest = min(max(row.at[0], 1.0) for row in rows)
    if largest > _LOG * max(rows[0].at[2], 1.0):
        frame.set_xscale("log")
        frame.set_xlim(smallest / 1.2, largest * 1.2)
        log_ticks(frame.xaxis, smallest / 1.2, largest * 1.2)
    else:
        frame.set_xlim(0, max(largest, 1.0) * 1.04)
        ticks(frame.xaxis, 5)
    log = frame.get_xscale() == "log"
    for place, row in enumerate(rows):
        at = [max(value, 1.0) if log else value for value in row.at]
        _box(frame, place + 0.5, at, row.method.colour(palette) if row.method else palette.ink, palette)
        if row.cut is not None:
            y = 30 + (place + 0.5) * (laid.beyond - 44 - 30) / len(rows)
            write(laid.on, laid.left + laid.width + 46, y, f"{row.cut:.0%}".replace("%", " %"), palette, ha="right")
    write(laid.on, laid.left + laid.width + 46, 14, "cut off", palette, ha="right")
    write(laid.on, laid.left + laid.width, laid.beyond - 14, "characters", palette, ha="right")
    return laid.on


def _box(frame: Any, y: float, at: Sequence[float], colour: str, palette: Palette) -> None:
    from matplotlib.patches import Rectangle

    frame.plot([at[0], at[4]], [y, y], color=colour, linewidth=1.2, zorder=2)
    frame.add_patch(
        Rectangle((at[1], y - 0.28), at[3] - at[1], 0.56, facecolor=palette.surface, edgecolor=colour, lw=1.3, zorder=3)
    )
    frame.add_patch(Rectangle((at[1], y - 0.28), at[3] - at[1], 0.56, facecolor=colour, alpha=0.25, lw=0, zorder=3))
    frame.plot([at[2], at[2]], [y - 0.28, y + 0.28], color=colour, linewidth=2.5, zorder=4, solid_capstyle="butt")
