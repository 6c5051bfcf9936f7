"""CSV: the long format as text."""

from __future__ import annotations

import csv
import io

from fairtune.report.collect import Report
from fairtune.report.formats.long_rows import HEADINGS, long_rows


def render(report: Report) -> str:
    """An empty cell is a missing number."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADINGS)
    writer.writerows(long_rows(report))
    return text.getvalue()
