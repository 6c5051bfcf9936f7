"""How runs, differences and p-values are written on the page."""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup, escape

from fairtune.report import names
from fairtune.report.collect import Report
from fairtune.report.names import DASH, ends_of, signed_ends_of
from fairtune.report.tables import Entry
from fairtune.study import RunSpec

TONES = {"better": "better", "worse": "worse"}
"""Classes of the style sheet; other verdicts are neither good nor bad."""


def method_name(spec: RunSpec, report: Report) -> str:
    """The method; and its augmentation, model and precision where those vary in the study."""
    return names.method_name(spec, [entry.spec for entry in report.entries])


def run_name(spec: RunSpec, report: Report) -> str:
    """The method, and the seed where there are several."""
    return names.run_name(spec, [entry.spec for entry in report.entries])


def names_of_runs(report: Report) -> dict[str, str]:
    """The method's name by run id: what comparisons speak of."""
    return {entry.spec.run_id: method_name(entry.spec, report) for entry in report.entries}


def interval(low: float | None, high: float | None, sign: bool = False) -> str:
    """``[8.10, 9.42]``; ``[?]`` where there is none."""
    return (signed_ends_of if sign else ends_of)(low, high)


def breakable(name: str) -> Markup:
    """A name that may be broken after its underscores and commas, as no browser does by itself."""
    text = str(escape(name))
    for sign in "_,":
        text = text.replace(sign, f"{sign}<wbr>")
    return Markup(text)  # noqa: S704 - escaped above


def count(number: int | None) -> str:
    """With commas."""
    return DASH if number is None else f"{number:,}"


def once(texts: Iterable[str | None]) -> list[str]:
    """Each text once, in order, empty ones left out."""
    return list(dict.fromkeys(text for text in texts if text))


def unfinished(report: Report) -> list[Entry]:
    """Runs that have no results."""
    return [entry for entry in report.entries if not entry.ok]
