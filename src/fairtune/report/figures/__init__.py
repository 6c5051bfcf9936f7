"""Pictures of a study: one file a figure, one table of them. matplotlib is imported when one is drawn."""

from __future__ import annotations

from collections.abc import Callable

from fairtune.report.collect import Report
from fairtune.report.figures.figure import KINDS, Figure, png, save, svg
from fairtune.report.figures.labels import labels
from fairtune.report.figures.leakage import leakage
from fairtune.report.figures.lengths import lengths
from fairtune.report.figures.loss import loss
from fairtune.report.figures.memory import memory
from fairtune.report.figures.pairs import pairs
from fairtune.report.figures.quality import quality_memory, quality_time
from fairtune.report.figures.seeds import seeds
from fairtune.report.figures.subjects import subjects
from fairtune.report.figures.uplift import uplift

FIGURES: dict[str, Callable[[Report], list[Figure]]] = {
    "uplift": uplift,
    "pairs": pairs,
    "quality_memory": quality_memory,
    "quality_time": quality_time,
    "seeds": seeds,
    "loss": loss,
    "labels": labels,
    "subjects": subjects,
    "lengths": lengths,
    "leakage": leakage,
    "memory": memory,
}
"""In the order in which they are read. A figure that has nothing to show is no figure."""


def figures(report: Report) -> list[Figure]:
    """Everything that this report can show. Reads the curves and the items of its runs; draws nothing yet."""
    return [figure for make in FIGURES.values() for figure in make(report)]


__all__ = ["FIGURES", "KINDS", "Figure", "figures", "png", "save", "svg"]
