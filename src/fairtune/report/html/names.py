"""How runs, differences and p-values are written on the page."""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup, escape

from fairtune.report.cells import format_score
from fairtune.report.collect import Entry, Report
from fairtune.study import RunSpec

MARKS = {"better": "▲", "worse": "▼", "no difference shown": "≈", "higher": "△", "lower": "▽"}
TONES = {"better": "better", "worse": "worse"}
"""Classes of the style sheet; other verdicts are neither good nor bad."""

DASH = "–"
_SMALL_P = 0.001


def method_name(spec: RunSpec, report: Report) -> str:
    """The method; and its augmentation, model and precision where those vary in the study."""
    specs = [entry.spec for entry in report.entries]
    augments = {other.augment and other.augment.label for other in specs if other.method.trains}
    parts = [spec.method.label]
    if spec.augment and len(augments) > 1:
        parts.append(spec.augment.label)
    if len({other.model.name for other in specs}) > 1:
        parts.append(spec.model.name)
    if len({other.precision for other in specs}) > 1:
        parts.append(spec.precision)
    return " · ".join(parts)


def run_name(spec: RunSpec, report: Report) -> str:
    """The method, and the seed where there are several."""
    seeds = {entry.spec.seed for entry in report.entries if entry.spec.method.trains}
    seed = f" · seed {spec.seed}" if spec.method.trains and len(seeds) > 1 else ""
    return method_name(spec, report) + seed


def names_of_runs(report: Report) -> dict[str, str]:
    """The method's name by run id: what comparisons speak of."""
    return {entry.spec.run_id: method_name(entry.spec, report) for entry in report.entries}


def signed(value: float | None) -> str:
    """``+1.25``, ``−0.310`` or ``0``."""
    if value is None:
        return "?"
    if value == 0:
        return "0"
    return f"{'+' if value >= 0 else '−'}{format_score(abs(value))}"


def interval(low: float | None, high: float | None, sign: bool = False) -> str:
    """``[8.10, 9.42]``; ``[?]`` where there is none."""
    if low is None or high is None:
        return "[?]"
    ends = (signed(low), signed(high)) if sign else (_score(low), _score(high))
    return f"[{ends[0]}, {ends[1]}]"


def _score(value: float) -> str:
    return format_score(value).replace("-", "−")


def p_value(p: float | None) -> str:
    """Three digits after the point, and no zero that is none."""
    if p is None:
        return DASH
    return f"< {_SMALL_P}" if p < _SMALL_P else f"{p:.3f}"


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
