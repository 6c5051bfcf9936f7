"""Training loss by update, and the validation loss after each epoch."""

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
from fairtune.report.figures.cast import Method, is_number, left_out, methods_of, missing, shortened
from fairtune.report.figures.figure import Figure
from fairtune.report.figures.palette import Palette
from fairtune.report.figures.sheet import (
    NARROW,
    WIDE,
    axes,
    cut,
    legend,
    legend_height,
    log_ticks,
    sheet,
    span,
    ticks,
    write,
)
from fairtune.report.names import format_score
from fairtune.report.tables import Entry

_POINTS = 300
_ALL_POINTS = 3600
_TOGETHER = 6
_LOG = 20

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """A run's updates and losses; the places and losses of its validation."""

    entry: Entry
    steps: Floats
    losses: Floats
    checks: tuple[tuple[float, float], ...]


def loss(report: Report) -> list[Figure]:
    """Where a training left its curve."""
    methods = [method for method in methods_of(report) if method.place is not None]
    found = {method.cell: _curves(method) for method in methods}
    shown = [method for method in methods if found[method.cell]]
    if not shown:
        return []
    window = smoothing(max(len(curve.steps) for curves in found.values() for curve in curves))
    absent = [
        f"{method.name}, seed {entry.spec.seed}"
        for method in methods
        for entry, _ in method.finished
        if entry not in [curve.entry for curve in found[method.cell]]
    ]
    smoothed = f"a mean over {window} updates around each" if window > 1 else "as it was, not smoothed"
    validated = any(curve.checks for curves in found.values() for curve in curves)
    dots = "; dots are the validation loss after each epoch" if validated else ""
    caption = (
        f"Training loss by update, in nats per supervised token, a line a seed ({smoothed}){dots}."
        f"{left_out(methods)}{missing(absent, 'no curve.jsonl to read')}"
    )
    draw = _together if len(shown) <= _TOGETHER else _apart
    return [
        Figure(
            name="loss",
            title="Loss while training",
            caption=caption,
            alt=shortened([_said(method, found[method.cell]) for method in shown]),
            draw=partial(draw, [(method, found[method.cell]) for method in shown], window),
        )
    ]


def _curves(method: Method) -> list[Curve]:
    return [curve for entry in method.entries if (curve := _curve(entry))]


def _curve(entry: Entry) -> Curve | None:
    """None where there is none, or it is damaged: the caption says so."""
    try:
        lines = read_lines(entry.folder.curve)
        numbers = [(float(line["step"]), float(line["loss"])) for line in lines]
    except (RecordError, KeyError, TypeError, ValueError):
        return None
    finite = [(step, loss) for step, loss in numbers if is_number(step) and is_number(loss)]
    if not finite or not entry.ok:
        return None
    steps, losses = np.array(finite, dtype=np.float64).T
    return Curve(entry, steps, losses, _checks(entry, lines))


def _checks(entry: Entry, lines: Sequence[dict[str, Any]]) -> tuple[tuple[float, float], ...]:
    """Validation stands at the last update of its epoch."""
    selection = entry.record.selection if entry.record else None
    ends: dict[int, float] = {}
    for line in lines:
        if isinstance(line.get("epoch"), int):
            ends[line["epoch"]] = float(line["step"])
    places = [ends[epoch] for epoch in sorted(ends)]
    losses = selection.validation_losses if selection else ()
    return tuple((place, value) for place, value in zip(places, losses, strict=False) if is_number(value))


def smoothing(updates: int) -> int:
    """Updates whose mean a point is: an odd number that grows with the square root of all."""
    return int(0.8 * updates**0.5) // 2 * 2 + 1


def smoothed(losses: Floats, window: int) -> Floats:
    """Mean over the updates around each; over fewer at both ends."""
    if window <= 1:
        return losses
    sums = np.concatenate([[0.0], np.cumsum(losses)])
    places = np.arange(len(losses))
    low, high = np.maximum(places - window // 2, 0), np.minimum(places + window // 2 + 1, len(losses))
    means: Floats = (sums[high] - sums[low]) / (high - low)
    return means


def thinned(values: Floats, most: int) -> Floats:
    """At most so many of them, the first and the last included."""
    if len(values) <= most:
        return values
    found: Floats = values[np.unique(np.linspace(0, len(values) - 1, most).round().astype(int))]
    return found


def _said(method: Method, curves: Sequence[Curve]) -> str:
    starts = float(np.mean([curve.losses[: max(1, len(curve.losses) // 20)].mean() for curve in curves]))
    ends = float(np.mean([curve.losses[-max(1, len(curve.losses) // 20) :].mean() for curve in curves]))
    checks = [curve.checks[-1][1] for curve in curves if curve.checks]
    after = f", validation {format_score(float(np.mean(checks)))} at the end" if checks else ""
    return f"{method.name}: training loss from {format_score(starts)} to {format_score(ends)}{after}."


Shown = Sequence[tuple[Method, Sequence[Curve]]]


def _together(shown: Shown, window: int, palette: Palette) -> Any:
    items = [("line", method.colour(palette), method.name) for method, _ in shown]
    below = legend_height(items, NARROW - 24)
    on = sheet(NARROW, 300 + below, palette)
    frame = axes(on, 46, 26, NARROW - 46 - 14, 222, palette, grid="y")
    _scale(frame, shown, window)
    most = _points(shown)
    for method, curves in shown:
        _draw_curves(frame, method, curves, window, most, palette)
    write(on, 12, 12, "loss, nats per token", palette)
    write(on, NARROW - 14, 280, "update", palette, ha="right")
    legend(on, 12, 290, NARROW - 24, items, palette)
    return on


def _apart(shown: Shown, window: int, palette: Palette) -> Any:
    """A panel a method on common scales, three side by side."""
    columns, height = 3, 130
    lines = -(-len(shown) // columns)
    on = sheet(WIDE, lines * (height + 52) + 8, palette)
    width = (WIDE - 46 - 14 - 22 * (columns - 1)) / columns
    most = _points(shown)
    for index, (method, curves) in enumerate(shown):
        line, place = divmod(index, columns)
        left, top = 46 + place * (width + 22), line * (height + 52) + 26
        frame = axes(on, left, top, width, height, palette, grid="y")
        _scale(frame, shown, window)
        _draw_curves(frame, method, curves, window, most, palette)
        write(on, left, top - 14, cut(method.name, width), palette, color=palette.ink)
        if place:
            frame.set_yticklabels([])
    return on


def _points(shown: Shown) -> int:
    """Of each line, so that the file stays small."""
    return max(12, min(_POINTS, _ALL_POINTS // sum(len(curves) for _, curves in shown)))


def _scale(frame: Any, shown: Shown, window: int) -> None:
    every = [smoothed(curve.losses, window) for _, curves in shown for curve in curves]
    checks = [value for _, curves in shown for curve in curves for _, value in curve.checks]
    low = min([float(values.min()) for values in every] + checks)
    high = max([float(values.max()) for values in every] + checks)
    steps = [float(curve.steps[-1]) for _, curves in shown for curve in curves]
    frame.set_xlim(0, max(*steps, 1.0) * 1.02)
    ticks(frame.xaxis, 5, whole=True)
    if low > 0 and high > _LOG * low:
        frame.set_yscale("log")
        frame.set_ylim(low / 1.15, high * 1.15)
        log_ticks(frame.yaxis, low / 1.15, high * 1.15)
        return
    frame.set_ylim(*span([low, high]))
    ticks(frame.yaxis, 5)


def _draw_curves(frame: Any, method: Method, curves: Sequence[Curve], window: int, most: int, palette: Palette) -> None:
    colour = method.colour(palette)
    for curve in curves:
        values = thinned(smoothed(curve.losses, window), most)
        steps = thinned(curve.steps, most)
        marker = "o" if len(values) == 1 else ""
        frame.plot(
            steps, values, marker=marker, color=colour, linewidth=1.2, linestyle=method.dash, alpha=0.85, zorder=3
        )
        if curve.checks:
            xs, ys = zip(*curve.checks, strict=True)
            frame.plot(xs, ys, "o", color=colour, markersize=5, mec=palette.surface, mew=0.8, zorder=4)
