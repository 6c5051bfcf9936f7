"""Records and statistics become tables. No torch."""

from fairtune.report.collect import Comparison, Entry, Report, Row, collect
from fairtune.report.formats import FORMATS
from fairtune.report.formats.terminal import print_report

__all__ = ["FORMATS", "Comparison", "Entry", "Report", "Row", "collect", "print_report"]
