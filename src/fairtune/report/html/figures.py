"""The study's figures, as SVG that stands inside the page."""

from __future__ import annotations

from dataclasses import dataclass

from fairtune.report.collect import Report
from fairtune.report.figures import figures, svg


@dataclass(frozen=True)
class Picture:
    """A figure, drawn in the page's own colours.

    ``svg`` is ours: every text in it is escaped, and it says itself what those who do not see it should know.
    """

    name: str
    title: str
    caption: str
    svg: str


def pictures(report: Report) -> list[Picture]:
    """All that the study has."""
    return [Picture(figure.name, figure.title, figure.caption, svg(figure, themed=True)) for figure in figures(report)]
