"""One file a format, one table of names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fairtune.report.collect import Report
from fairtune.report.formats import csv_rows, json_document, latex, markdown, parquet
from fairtune.report.html import render as html_page


@dataclass(frozen=True)
class Format:
    """How a report is written; ``binary``: as bytes, which are nothing for a terminal."""

    render: Callable[[Report], str | bytes]
    binary: bool = False

    def __call__(self, report: Report) -> str | bytes:
        """The report in this format."""
        return self.render(report)


FORMATS: dict[str, Format] = {
    "md": Format(markdown.render),
    "csv": Format(csv_rows.render),
    "json": Format(json_document.render),
    "html": Format(html_page),
    "latex": Format(latex.render),
    "parquet": Format(parquet.render, binary=True),
}

__all__ = ["FORMATS", "Format"]
