"""Labels of points, put where they cover neither points nor each other."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fairtune.report.figures.palette import Palette
from fairtune.report.figures.sheet import SMALL, text_width

Floats = npt.NDArray[np.float64]
"""Boxes: left, bottom, right, top in the last dimension."""
_ROUND = 16
_NEAR = 14
_REACH = (9, _NEAR, 20, 28, 38, 50, 64, 80, 100)


@dataclass(frozen=True)
class Point:
    """A point in pixels, and its label."""

    x: float
    y: float
    label: str
    colour: str


def place_labels(
    frame: Any, points: Sequence[Point], obstacles: Sequence[tuple[float, float]], palette: Palette
) -> None:
    """Writes every label near its point, with a thin line where it is not right beside it.

    Args:
        points: in pixels of the frame's figure, as ``frame.transData`` gives them.
        obstacles: further places that should stay free, such as points of single seeds and intervals.
    """
    bounds = frame.get_window_extent()
    inside = np.array([bounds.x0, bounds.y0, bounds.x1, bounds.y1])
    taken = [_around(point.x, point.y, 5) for point in points]
    weak = np.array([_around(x, y, 2) for x, y in obstacles], dtype=np.float64).reshape(-1, 4)
    to_data = frame.transData.inverted()
    veil = {"facecolor": palette.surface, "edgecolor": "none", "alpha": 0.75, "pad": 0.5}
    for point in sorted(points, key=lambda each: (each.y, each.x)):
        box, reach = _best(point, inside, np.array(taken), weak)
        taken.append(box)
        x, y = to_data.transform(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2))
        style = {"color": palette.ink, "fontsize": SMALL, "ha": "center", "va": "center", "zorder": 6, "bbox": veil}
        frame.text(x, y, point.label, **style)
        if reach > _NEAR:
            end = np.clip(point.x, box[0], box[2]), np.clip(point.y, box[1], box[3])
            ends = to_data.transform([(point.x, point.y), end])
            frame.plot(ends[:, 0], ends[:, 1], color=point.colour, linewidth=0.8, alpha=0.8, zorder=2)


def _best(point: Point, inside: Floats, taken: Floats, weak: Floats) -> tuple[Floats, float]:
    """The place that covers least, nearest first; and how far it is."""
    boxes, reach = _places(text_width(point.label) + 4, SMALL + 4)
    boxes = boxes + np.array([point.x, point.y] * 2)
    beyond = np.maximum(inside[:2] - boxes[:, :2], 0).sum(1) + np.maximum(boxes[:, 2:] - inside[2:], 0).sum(1)
    best = int(np.argmin(40 * _covered(boxes, taken) + 3 * _covered(boxes, weak) + 400 * beyond + 2 * reach))
    return boxes[best], float(reach[best])


@functools.cache
def _places(width: float, height: float) -> tuple[Floats, Floats]:
    """Boxes around a point at the origin, in rings; and the distance of each."""
    reach, step = (grid.ravel() for grid in np.meshgrid(np.array(_REACH, float), np.arange(_ROUND), indexing="ij"))
    across, up = np.cos(2 * np.pi * step / _ROUND), np.sin(2 * np.pi * step / _ROUND)
    x = across * (reach + width / 2 * np.abs(across))
    y = up * (reach + np.where(np.abs(across) > 0.5, 0.0, height / 4))
    return np.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], axis=1), reach


def _around(x: float, y: float, by: float) -> Floats:
    return np.array([x - by, y - by, x + by, y + by])


def _covered(boxes: Floats, others: Floats) -> Floats:
    """Square pixels of each box that all the others cover, each for itself."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    found: Floats = np.maximum(high - low, 0).prod(axis=2).sum(axis=1)
    return found
