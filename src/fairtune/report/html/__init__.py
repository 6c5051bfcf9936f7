"""The report as one HTML file that needs nothing else: no network, no font, no other file."""

from fairtune.report.html.page import render

__all__ = ["render"]
