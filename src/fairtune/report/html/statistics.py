"""What is known of a comparison: for the note at a number, and for the table of all."""

from __future__ import annotations

from dataclasses import dataclass

from fairtune.report.cells import mark_of
from fairtune.report.collect import Report
from fairtune.report.comparisons import AGAINST_BASE, THESE_RUNS, Comparison
from fairtune.report.html.names import TONES, count, interval, names_of_runs, once
from fairtune.report.names import DASH, format_score, p_value, signed, two_digits

MOST_SHOWN = 600
"""Lines of the table of comparisons; csv and json have all."""

Facts = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Number:
    """A cell that is sorted by a number."""

    text: str
    sort: float | None = None
    below: str = ""


@dataclass(frozen=True)
class ComparisonLine:
    """A line of the table of all comparisons."""

    a: str
    b: str
    metric: str
    family: str
    verdict: str
    mark: str
    tone: str
    numbers: tuple[Number, ...]
    remarks: tuple[str, ...]


HEADINGS = (
    ("Δ", "the first minus the second, with its 95 % interval"),
    ("p", "of no difference, two-sided"),
    ("p adjusted", "Holm, over all comparisons of the family"),
    ("items", "that both answered"),
    ("seeds", "of the side that has fewer"),
    ("could have shown", "the smallest true difference that would be shown with a chance of 80 %"),
    ("items needed", "to show a true difference as large as this one, with a chance of 80 %"),
    ("seeds needed", "on these items, to show a true difference as large as this one, with a chance of 80 %"),
    ("p no worse", "of being worse by the study's margin or more"),
)


def facts_of(found: Comparison) -> Facts:
    """Everything that is known, in the order of importance; what is not there is left out."""
    both = found.about != THESE_RUNS
    told: list[tuple[str, str | None]] = [
        ("Verdict", f"{mark_of(found)} {found.verdict}"),
        ("Difference", f"{signed(found.difference)} {interval(found.low, found.high, sign=True)}"),
        ("Speaks of", found.about),
        ("p", p_value(found.p)),
        ("p adjusted", f"{p_value(found.p_adjusted)} (Holm)"),
        ("These runs alone", interval(found.low_items, found.high_items, sign=True) if both else None),
        ("p of these runs", p_value(found.p_items) if both and found.p_items is not None else None),
        ("Items, seeds", f"{count(found.n)}, {found.seeds}"),
        ("Could have shown", _known(found.smallest, format_score)),
        ("Items needed", _known(found.items_needed, _about)),
        ("Seeds needed", _known(found.seeds_needed, _about)),
        ("May be lost", _known(found.margin, format_score)),
        ("p no worse", _known(found.p_no_worse, p_value)),
        ("Test", found.test or None),
        ("Interval", found.interval or None),
        ("Unequal chances", found.unequal),
        ("Missing", found.reason),
    ]
    return tuple((name, text) for name, text in told if text)


def _about(number: int | None) -> str:
    return DASH if number is None else f"{two_digits(number):,}"


def _known(value: float | None, shown: object) -> str | None:
    return None if value is None or not callable(shown) else str(shown(value))


def comparison_lines(report: Report) -> list[ComparisonLine]:
    """Comparisons in the report's order; of very many, those with the smallest p-values."""
    names = names_of_runs(report)
    shown = sorted(report.comparisons, key=lambda found: found.p_adjusted)[:MOST_SHOWN]
    kept = {id(found) for found in shown}
    differ = len({found.about for found in report.comparisons}) > 1
    return [_line(found, names, differ) for found in report.comparisons if id(found) in kept]


def spoken_of(report: Report) -> str | None:
    """What all comparisons speak of; None where they differ."""
    about = once(found.about for found in report.comparisons)
    return about[0] if len(about) == 1 else None


def _line(found: Comparison, names: dict[str, str], differ: bool) -> ComparisonLine:
    return ComparisonLine(
        a=names.get(found.a_runs[0], found.a),
        b=names.get(found.b_runs[0], found.b),
        metric=found.metric,
        family=found.family,
        verdict=found.verdict,
        mark=mark_of(found),
        tone=TONES.get(found.verdict, "unsure"),
        numbers=(
            Number(signed(found.difference), found.difference, interval(found.low, found.high, sign=True)),
            Number(p_value(found.p), found.p),
            Number(p_value(found.p_adjusted), found.p_adjusted),
            Number(count(found.n), found.n),
            Number(str(found.seeds), found.seeds),
            Number(DASH if found.smallest is None else format_score(found.smallest), found.smallest),
            Number(_about(found.items_needed), found.items_needed),
            Number(_about(found.seeds_needed), found.seeds_needed),
            Number(p_value(found.p_no_worse), found.p_no_worse),
        ),
        remarks=tuple(once([found.about if differ else None, found.unequal, found.reason])),
    )


def used_columns(lines: list[ComparisonLine]) -> list[int]:
    """Columns that have any number."""
    return [at for at in range(len(HEADINGS)) if any(line.numbers[at].sort is not None for line in lines)]


def against_base(report: Report) -> dict[tuple[str, tuple[str, ...]], Comparison]:
    """By metric and runs."""
    return {(found.metric, found.a_runs): found for found in report.comparisons if found.family == AGAINST_BASE}
