"""Pictures of a study: one file a figure, one table of them. matplotlib is imported when one is drawn."""

from __future__ import annotations

from collections.abc import Callable

from fairtune.report.collect import Report
from fairtune.report.figures.figure import KINDS, Figure, png, save, svg
from fairtune.report.figures.loss import loss
from fairtune.report.figures.quality import quality_memory, quality_time
from fairtune.report.figures.uplift import uplift

FIGURES: dict[str, Callable[[Report], list[Figure]]] = {
    "uplift": uplift,
    "quality_memory": quality_memory,
    "quality_time": quality_time,
    "loss": loss,
}
"""In the order in which they are read. A figure that has nothing to show is no figure."""


def figures(report: Report) -> list[Figure]:
    """Everything that this report can show. Reads the curves and the items of its runs; draws nothing yet."""
    return [figure for make in FIGURES.values() for figure in make(report)]


__all__ = ["FIGURES", "KINDS", "Figure", "figures", "png", "save", "svg"]
