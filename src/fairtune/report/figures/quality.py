"""What quality costs: the main metric against peak memory and against time of training, with the Pareto front."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from fairtune.records import MetricValue, RunRecord
from fairtune.report.collect import Report
from fairtune.report.figures.cast import Method, is_number, left_out, methods_of, missing, plain, shortened
from fairtune.report.figures.figure import Figure
from fairtune.report.figures.palette import Palette
from fairtune.report.figures.placing import Point, place_labels
from fairtune.report.figures.sheet import (
    NARROW,
    TEXT,
    WIDE,
    axes,
    cut,
    log_ticks,
    number,
    outliers,
    sheet,
    span,
    ticks,
    write,
)
from fairtune.report.names import format_score
from fairtune.report.predicted import peak_of
from fairtune.units import format_bytes, format_seconds

_LOG = 20
_FEW = 6


@dataclass(frozen=True)
class Cost:
    """An x axis: what is paid, in ``unit``s, by a record; ``base`` says the same of an untouched model."""

    name: str
    title: str
    axis: str
    caption: str
    units: Callable[[float], tuple[float, str]]
    """Of the largest number: what to divide by, and what that is called."""
    of: Callable[[RunRecord], float | None]
    base: Callable[[RunRecord], float | None]
    said: Callable[[float], str]


def _bytes_unit(largest: float) -> tuple[float, str]:
    return (2**30, "GiB") if largest >= 2**30 else (2**20, "MiB")


def _seconds_unit(largest: float) -> tuple[float, str]:
    return (3600, "hours") if largest >= 7200 else (60, "minutes") if largest >= 180 else (1, "seconds")


_MEMORY = Cost(
    name="quality_memory",
    title="Quality against memory",
    axis="peak memory of training",
    caption="peak memory of training (of the untouched model, of scoring)",
    units=_bytes_unit,
    of=lambda record: peak_of(record, "train").measured,
    base=lambda record: peak_of(record, "evaluate").measured,
    said=lambda number: format_bytes(round(number)),
)
_TIME = Cost(
    name="quality_time",
    title="Quality against time",
    axis="time of training",
    caption="time of training",
    units=_seconds_unit,
    of=lambda record: record.phases["train"].seconds if "train" in record.phases else None,
    base=lambda record: None,
    said=format_seconds,
)


@dataclass(frozen=True)
class Spot:
    """A method: what it paid and scored. ``x`` is None for an untouched model that paid nothing here."""

    method: Method
    x: float | None
    value: MetricValue
    seeds: tuple[tuple[float, float], ...] = ()

    @property
    def reach(self) -> list[float]:
        """Everything that is drawn of its score."""
        ys = (self.y, self.value.low, self.value.high, *(seed[1] for seed in self.seeds))
        return [y for y in ys if y is not None and is_number(y)]

    @property
    def y(self) -> float:
        """Its score."""
        if self.value.value is None:
            raise ValueError(f"{self.method.name} has no score")
        return self.value.value


def quality_memory(report: Report) -> list[Figure]:
    """Where peaks were measured."""
    return _figure(report, _MEMORY)


def quality_time(report: Report) -> list[Figure]:
    """Where something was trained."""
    return _figure(report, _TIME)


def _figure(report: Report, cost: Cost) -> list[Figure]:
    name = main_metric(report)
    methods = methods_of(report)
    spots = [spot for method in methods if name and (spot := _spot(report, method, name, cost))]
    trained = [spot for spot in spots if spot.method.place is not None]
    if name is None or not trained:
        return []
    here = {spot.method.cell for spot in spots}
    absent = [method.name for method in methods if method.cell not in here and method.finished]
    metric = report.known[name]
    way = "higher" if metric.higher_is_better else "lower"
    caption = (
        f"Each large mark is a method, small ones its seeds: {plain(name)} ({way} is better, with its 95 % interval) "
        f"against {cost.caption}; the stepped line joins methods that none beats in both, and the dashed line is the "
        f"untouched model.{left_out(methods)}{missing(absent, 'a number is missing')}"
    )
    front = pareto(trained, bool(metric.higher_is_better))
    return [
        Figure(
            name=cost.name,
            title=cost.title,
            caption=caption,
            alt=shortened([_front_said(front, cost), *(_said(spot, name, cost) for spot in spots)]),
            draw=partial(_draw, report, cost, name, spots, front),
        )
    ]


def main_metric(report: Report) -> str | None:
    """The first of which one way is better."""
    return next((name for name in report.metrics if report.known[name].higher_is_better is not None), None)


def _spot(report: Report, method: Method, name: str, cost: Cost) -> Spot | None:
    row = report.wholes.get(method.cell)
    value = row.values.get(name) if row else None
    if value is None or not is_number(value.value):
        return None
    of = cost.base if method.place is None else cost.of
    paid = method.numbers(of)
    if not paid:
        return Spot(method, None, value) if method.place is None else None
    seeds = [(of(record), record.metrics.get(name)) for _, record in method.finished]
    points = [(x, single.value) for x, single in seeds if x is not None and single and single.value is not None]
    shown = tuple((x, y) for x, y in points if is_number(x) and is_number(y)) if len(points) > 1 else ()
    return Spot(method, sum(paid) / len(paid), value, shown)


def pareto(spots: Sequence[Spot], higher: bool) -> list[Spot]:
    """Those that none beats in both, the cheapest first."""
    front: list[Spot] = []
    for spot in sorted(spots, key=lambda each: (each.x or 0.0, -each.y if higher else each.y)):
        if not front or (spot.y > front[-1].y if higher else spot.y < front[-1].y):
            front.append(spot)
    return front


def _front_said(front: Sequence[Spot], cost: Cost) -> str:
    return f"Not beaten in both score and {cost.axis}: {', '.join(spot.method.name for spot in front)}."


def _said(spot: Spot, name: str, cost: Cost) -> str:
    paid = f" at {cost.said(spot.x)}" if spot.x is not None else ""
    return f"{spot.method.name}: {plain(name)} {format_score(spot.y)}{paid}."


def _draw(report: Report, cost: Cost, name: str, spots: Sequence[Spot], front: Sequence[Spot], palette: Palette) -> Any:
    wide = len(spots) > _FEW
    width, height = (WIDE, 440) if wide else (NARROW, 340)
    on = sheet(width, height, palette)
    frame = axes(on, 58, 30, width - 58 - 16, height - 30 - 52, palette, grid="both")
    divide, unit = cost.units(max(spot.x for spot in spots if spot.x is not None))
    _scales(frame, spots, divide)
    for spot in spots:
        _draw_spot(frame, spot, divide, palette)
    metric = report.known[name]
    line = _front_line(frame, front, divide, bool(metric.higher_is_better))
    frame.plot(*line, color=palette.ink, linewidth=1, alpha=0.55, zorder=2)
    _labels(frame, spots, divide, line, palette)
    way = "↑ better" if metric.higher_is_better else "↓ better"
    head = cut(f"{plain(name)}, {plain(metric.unit)}", width - 140, TEXT)
    write(on, 12, 13, head, palette, color=palette.ink, fontsize=TEXT, weight="bold")
    write(on, width - 16, 13, way, palette, ha="right")
    write(on, 58, height - 13, "← better", palette)
    write(on, width - 16, height - 13, f"{cost.axis}, {unit}", palette, ha="right")
    return on


def _scales(frame: Any, spots: Sequence[Spot], divide: float) -> None:
    xs = [x / divide for spot in spots for x in (spot.x, *(seed[0] for seed in spot.seeds)) if x is not None]
    far = outliers([spot.reach for spot in spots])
    ys = [y for place, spot in enumerate(spots) if place not in far for y in spot.reach]
    if min(xs) > 0 and max(xs) > _LOG * min(xs):
        low, high = min(xs) / 1.3, max(xs) * 1.3
        frame.set_xscale("log")
        log_ticks(frame.xaxis, low, high)
    else:
        low, high = span(xs, 0.12)
        low = max(low, 0.0)
        ticks(frame.xaxis, 6)
    frame.set_xlim(low, high)
    if min(ys) > 0 and max(ys) > _LOG * min(ys):
        frame.set_yscale("log")
        frame.set_ylim(min(ys) / 1.2, max(ys) * 1.2)
        log_ticks(frame.yaxis, min(ys) / 1.2, max(ys) * 1.2)
    else:
        frame.set_ylim(*span(ys, 0.08))
        ticks(frame.yaxis, 6)


def _draw_spot(frame: Any, spot: Spot, divide: float, palette: Palette) -> None:
    colour = spot.method.colour(palette)
    if spot.method.place is None:
        frame.axhline(spot.y, color=palette.muted, linewidth=1.2, linestyle=(0, (4, 3)), zorder=1.5)
    if spot.x is None:
        return
    x = spot.x / divide
    if is_number(spot.value.low) and is_number(spot.value.high):
        frame.plot([x, x], [spot.value.low, spot.value.high], color=colour, linewidth=1.6, alpha=0.75, zorder=3)
    if spot.seeds:
        xs, ys = zip(*spot.seeds, strict=True)
        frame.plot(
            [each / divide for each in xs],
            ys,
            spot.method.marker,
            color=colour,
            markersize=3.5,
            mew=0,
            alpha=0.6,
            zorder=3,
        )
    y = _inside(frame, spot.y)
    marker = spot.method.marker if y == spot.y else "^" if spot.y > y else "v"
    style = {"color": colour, "markersize": 8, "mew": 1, "mec": palette.surface, "zorder": 5, "clip_on": False}
    frame.plot([x], [y], marker, **style)


def _inside(frame: Any, y: float) -> float:
    """The nearest place in the frame, for a score that is far beyond all others."""
    low, high = frame.get_ylim()
    return float(min(max(y, low), high))


def _front_line(frame: Any, front: Sequence[Spot], divide: float, higher: bool) -> tuple[list[float], list[float]]:
    """Corners: from the frame's worst edge to the cheapest, step by step, and on to the right edge."""
    (_, right), (low, high) = frame.get_xlim(), frame.get_ylim()
    xs, ys = [(front[0].x or 0.0) / divide], [low if higher else high]
    for spot in front:
        xs += [(spot.x or 0.0) / divide] * 2
        ys += [ys[-1], spot.y]
    return [*xs[1:], right], [*ys[1:], ys[-1]]


def _labels(
    frame: Any, spots: Sequence[Spot], divide: float, line: tuple[list[float], list[float]], palette: Palette
) -> None:
    """Beside the marks; clear of intervals, single seeds, the front and the untouched model's line."""
    longest = 190.0 if len(spots) > _FEW else 150.0
    left, right = frame.get_xlim()
    points: list[Point] = []
    strokes = list(zip(zip(*line, strict=True), list(zip(*line, strict=True))[1:], strict=False))
    for spot in spots:
        x = left if spot.x is None else spot.x / divide
        y = _inside(frame, spot.y)
        at_x, at_y = frame.transData.transform((x, y))
        aside = 30 if spot.x is None else 0
        beyond = "" if y == spot.y else f": {number(float(f'{spot.y:.3g}'))}"
        label, colour = cut(spot.method.name, longest) + beyond, spot.method.colour(palette)
        points.append(Point(float(at_x) + aside, float(at_y), label, colour))
        if spot.method.place is None:
            strokes.append(((left, spot.y), (right, spot.y)))
        ends = [end for end in (spot.value.low, spot.value.high) if end is not None and is_number(end)]
        strokes += [((x, y), (x, _inside(frame, end))) for end in ends if spot.x is not None]
        strokes += [((seed[0] / divide, seed[1]),) * 2 for seed in spot.seeds]
    place_labels(frame, points, _along(frame, strokes), palette)


def _along(frame: Any, strokes: Sequence[Any]) -> list[tuple[float, float]]:
    """Pixels on straight lines, every few."""
    found: list[tuple[float, float]] = []
    for ends in strokes:
        (x0, y0), (x1, y1) = frame.transData.transform(ends)
        steps = int(max(abs(x1 - x0), abs(y1 - y0)) // 4) + 1
        found += [(x0 + (x1 - x0) * step / steps, y0 + (y1 - y0) * step / steps) for step in range(steps + 1)]
    return found
