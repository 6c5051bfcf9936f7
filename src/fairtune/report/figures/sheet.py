"""A sheet of paper in pixels, from its upper left corner, and quiet axes on it."""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Sequence
from typing import Any

from fairtune.report.figures.palette import Palette

NARROW, WIDE = 460, 720
"""Natural widths: read on a phone, and across a page."""
TEXT, SMALL = 11.0, 10.0
"""Sizes of letters."""
_BEYOND, _FEWEST = 15, 3
HOLLOW = "hollow"
"""A marker that is a line around nothing."""


def sheet(width: float, height: float, palette: Palette) -> Any:
    """An empty figure; a point of matplotlib is a pixel."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width / 72, height / 72), dpi=72, facecolor=palette.surface)


def axes(on: Any, left: float, top: float, width: float, height: float, palette: Palette, grid: str = "") -> Any:
    """A frame without ticks' marks and without lines but its lower one; ``grid``: x, y or both."""
    full_width, full_height = on.get_size_inches() * 72
    place = (
        left / full_width,
        1 - (top + height) / full_height,
        width / full_width,
        height / full_height,
    )
    found = on.add_axes(place, facecolor="none")
    for side in ("top", "right", "left"):
        found.spines[side].set_visible(False)
    found.spines["bottom"].set(color=palette.grid, linewidth=1)
    found.tick_params(length=0, labelsize=SMALL, colors=palette.muted, pad=4)
    if grid:
        found.grid(axis=grid, color=palette.grid, linewidth=0.8)
        found.set_axisbelow(True)
    return found


def write(on: Any, x: float, y: float, text: str, palette: Palette, **options: Any) -> None:
    """Text on the sheet, ``y`` from above; muted and small unless told otherwise."""
    width, height = on.get_size_inches() * 72
    settings = {"color": palette.muted, "fontsize": SMALL, "va": "center", "ha": "left", **options}
    on.text(x / width, 1 - y / height, text, **settings)


@functools.lru_cache(maxsize=4096)
def text_width(text: str, size: float = SMALL) -> float:
    """Pixels, in the font that the picture is laid out with; readers' own sans-serif is rarely wider."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(family="DejaVu Sans", size=size)
    width, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return float(width)


def wrapped(text: str, width: float, size: float = SMALL, lines: int = 3) -> str:
    """The text in at most so many lines of a width; what is too much is cut, with an ellipsis."""
    found: list[str] = []
    rest = text.replace(" ·", "\u00a0·").replace(" −", "\u00a0−").split(" ")  # no line begins with these
    while rest and len(found) < lines:
        line = rest.pop(0)
        while rest and text_width(f"{line} {rest[0]}", size) <= width:
            line += f" {rest.pop(0)}"
        found.append(line)
    if rest:
        found[-1] += " …"
    return "\n".join(cut(line, width, size) for line in found)


def cut(text: str, width: float, size: float = SMALL) -> str:
    """The text in one line of a width, with an ellipsis in its middle where it is too long: ends tell names apart."""
    if text_width(text, size) <= width:
        return text
    keep = len(text) - 1
    while keep > 2 and text_width(_without_middle(text, keep), size) > width:
        keep -= 1
    return _without_middle(text, keep)


def ended(text: str, width: float, size: float = SMALL) -> str:
    """The text in one line of a width, with an ellipsis at its end where it is too long."""
    if text_width(text, size) <= width:
        return text
    keep = len(text) - 1
    while keep > 2 and text_width(f"{text[:keep]}…", size) > width:
        keep -= 1
    return f"{text[:keep].rstrip()}…"


def _without_middle(text: str, keep: int) -> str:
    front = (keep + 1) // 2
    return f"{text[:front]}…{text[len(text) - (keep - front) :]}"


def number(value: float, signed: bool = False) -> str:
    """A tick's number in few signs."""
    if abs(value) < 1e-12:
        return "0"
    shown = f"{value:+.6g}" if signed else f"{value:.6g}"
    if "e" in shown:
        mantissa, _, exponent = shown.partition("e")
        shown = f"{mantissa}e{int(exponent)}"
    return shown.replace("-", "−")


def ticks(axis: Any, most: int, signed: bool = False, whole: bool = False) -> None:
    """Few round numbers on an axis; ``whole``: no fractions."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(nbins=most, steps=[1, 2, 2.5, 5, 10], min_n_ticks=2, integer=whole))
    axis.set_major_formatter(FuncFormatter(lambda value, _: number(value, signed)))


def without_edges(frame: Any, signed: bool = False) -> None:
    """Drops numbers below a frame that would reach over its ends, into the next frame's; two at least stay."""
    low, high = frame.get_xlim()
    width = frame.get_window_extent().width
    places = [float(place) for place in frame.xaxis.get_majorticklocs() if low <= place <= high]
    kept = [
        place
        for place in places
        if (place - low) / (high - low) * width + 6 > (half := text_width(number(place, signed)) / 2)
        and (high - place) / (high - low) * width + 6 > half
    ]
    frame.set_xticks(kept if len(kept) > 1 else places)


def log_ticks(axis: Any, low: float, high: float, most: int = 6) -> None:
    """1, 2, 5, 10, … between two positive numbers, on a logarithmic axis."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    places = [step * 10.0**power for power in powers for step in (1, 2, 5)]
    inside = [place for place in places if low <= place <= high]
    if len(inside) > most:
        inside = [place for place in inside if round(math.log10(place), 6).is_integer()]
    axis.set_major_locator(FixedLocator(inside[:: math.ceil(len(inside) / most) or 1]))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))


def span(values: Sequence[float], room: float = 0.06) -> tuple[float, float]:
    """Ends of an axis with some room beside its numbers; of equal numbers, some room around them."""
    low, high = min(values), max(values)
    equal = math.isclose(low, high, rel_tol=1e-9, abs_tol=1e-12)
    beside = (abs(low) * 0.1 or 1.0) if equal else (high - low) * room
    return low - beside, high + beside


def outliers(reaches: Sequence[Sequence[float]], centre: float | None = None) -> frozenset[int]:
    """Places of those so far out that an axis that holds them would press all others together.

    Args:
        reaches: of each, the numbers that are drawn of it.
        centre: from which they are measured; the median of all where it is None.
    """
    middle = statistics.median(x for reach in reaches for x in reach) if centre is None else centre
    far = [max(abs(x - middle) for x in reach) for reach in reaches]
    most = _BEYOND * statistics.median(far)
    if len(far) < _FEWEST or most == 0:
        return frozenset()
    return frozenset(place for place, distance in enumerate(far) if distance > most)


Item = tuple[str, str, str]
"""A marker, its colour and its meaning."""


def legend_height(items: Sequence[Item], width: float) -> float:
    """Pixels that :func:`legend` needs."""
    return 18.0 * len(_lines(items, width))


def legend(on: Any, left: float, top: float, width: float, items: Sequence[Item], palette: Palette) -> None:
    """Marks with their meaning, line by line. A marker may be ``hollow``, ``line`` or one of matplotlib's."""
    for index, line in enumerate(_lines(items, width)):
        x = left
        y = top + 18 * index + 9
        for marker, colour, meaning in line:
            shown = cut(meaning, width - 20)
            _sample(on, x + 6, y, marker, colour)
            write(on, x + 17, y, shown, palette)
            x += 17 + text_width(shown) + 16


def _lines(items: Sequence[Item], width: float) -> list[list[Item]]:
    lines: list[list[Item]] = [[]]
    used = 0.0
    for item in items:
        needed = 17 + min(text_width(item[2]), width - 20) + 16
        if lines[-1] and used + needed - 16 > width:
            lines.append([])
            used = 0.0
        lines[-1].append(item)
        used += needed
    return [line for line in lines if line]


def _sample(on: Any, x: float, y: float, marker: str, colour: str) -> None:
    from matplotlib.lines import Line2D

    width, height = on.get_size_inches() * 72
    place = 1 - y / height
    if marker == "line":
        on.add_artist(Line2D([(x - 6) / width, (x + 6) / width], [place, place], color=colour, linewidth=2))
        return
    settings = marking(marker, colour, "none")
    on.add_artist(Line2D([x / width], [place], linestyle="none", **settings))


def marking(marker: str, colour: str, inside: str) -> dict[str, Any]:
    """A marker's shape and fill; one that begins with ``hollow`` has ``inside`` within: ``hollow``, ``hollow ^``."""
    if marker.startswith(HOLLOW):
        shape = marker[len(HOLLOW) :].strip() or "o"
        return {"marker": shape, "markersize": 6, "markeredgecolor": colour, "markerfacecolor": inside, "mew": 1.5}
    size = 11 if marker == "|" else 7
    return {"marker": marker, "markersize": size, "color": colour, "mew": 2 if marker == "|" else 0}
