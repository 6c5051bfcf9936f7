"""One file a format, one table of names."""

from __future__ import annotations

from collections.abc import Callable

from fairtune.report.collect import Report
from fairtune.report.formats import csv_rows, json_document, markdown
from fairtune.report.html import render as html_page

FORMATS: dict[str, Callable[[Report], str]] = {
    "md": markdown.render,
    "csv": csv_rows.render,
    "json": json_document.render,
    "html": html_page,
}

__all__ = ["FORMATS"]
