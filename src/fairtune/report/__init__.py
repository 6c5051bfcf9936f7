"""Records and statistics become tables. No torch."""

from fairtune.report.collect import Report, Row, collect
from fairtune.report.comparisons import Comparison
from fairtune.report.formats import FORMATS
from fairtune.report.formats.terminal import print_report
from fairtune.report.judged import Judged
from fairtune.report.tables import Entry

__all__ = ["FORMATS", "Comparison", "Entry", "Judged", "Report", "Row", "collect", "print_report"]
