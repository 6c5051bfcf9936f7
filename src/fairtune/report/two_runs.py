"""``fairtune compare``: two runs, item by item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fairtune.report.comparisons import NOT_SHOWN, Comparison, Pair, Side, compare
from fairtune.report.matching import By, Change, Matched, changes, match
from fairtune.report.names import ends_of, format_score, method_name, p_value, signed, signed_ends_of
from fairtune.report.tables import Entry

TWO_RUNS = "two runs"


@dataclass(frozen=True)
class TwoRuns:
    """What is said of two runs."""

    a: Entry
    b: Entry
    matched: Matched
    comparisons: tuple[Comparison, ...]

    @property
    def names(self) -> tuple[str, str]:
        """As short as they can be told apart."""
        specs = [self.a.spec, self.b.spec]
        first, second = (method_name(spec, specs) for spec in specs)
        if first == second and specs[0].seed != specs[1].seed:
            return f"{first}, seed {specs[0].seed}", f"{second}, seed {specs[1].seed}"
        return (first, second) if first != second else (f"{first} (A)", f"{second} (B)")


def compare_two(
    a: Entry, b: Entry, by: By = "hash", shared: bool = False, margins: Mapping[str, float] | None = None
) -> TwoRuns:
    """Every metric that both have, over the same items; p-values hold for all of them together.

    Raises:
        SpecError, RecordError: as :func:`match`.
    """
    matched = match(a, b, by, shared)
    pair = Pair(TWO_RUNS, Side((a,)), Side((b,)))
    return TwoRuns(a, b, matched, tuple(compare([pair], matched.tables, matched.metrics, margins)))


def as_json(found: TwoRuns) -> list[dict[str, Any]]:
    """An entry a metric, as ``comparisons`` of a report; of one that could not be compared its name and the reason."""
    left = [name for name in found.matched.metrics if name not in {told.metric for told in found.comparisons}]
    refused = {**found.matched.refused, **dict.fromkeys(left, "there is one item, or a score is no number")}
    return [
        *(asdict(comparison) for comparison in found.comparisons),
        *(
            {"metric": name, "a": found.a.spec.cell, "b": found.b.spec.cell, "reason": why}
            for name, why in refused.items()
        ),
    ]


def table_rows(found: TwoRuns) -> list[dict[str, str]]:
    """A row a metric."""
    first, second = found.names
    rows = []
    for told in found.comparisons:
        values = [entry.record.metrics[told.metric] if entry.record else None for entry in (found.a, found.b)]
        shown = [f"{format_score(value.value)} {ends_of(value.low, value.high)}" if value else "–" for value in values]
        better = found.matched.metrics[told.metric].higher_is_better
        rows.append(
            {
                "metric": told.metric + {True: " ↑", False: " ↓", None: ""}[better],
                first: shown[0],
                second: shown[1],
                "difference": f"{signed(told.difference)} {signed_ends_of(told.low, told.high)}",
                "p": p_value(told.p_adjusted),
                "verdict": told.verdict,
                "could have shown": "–" if told.smallest is None else format_score(told.smallest),
            }
        )
    return rows


def sentences(found: TwoRuns) -> list[str]:
    """The answer in words, a sentence a metric; then what it does not say."""
    first, second = found.names
    told = [_sentence(comparison, first, second) for comparison in found.comparisons]
    told += [sentence for comparison in found.comparisons if (sentence := _no_worse(comparison, first, second))]
    if any(comparison.seeds for comparison in found.comparisons):
        told.append(
            "This speaks of these two runs. Whether the methods differ, other seeds must say: the report of a study with "
            "three seeds or more does."
        )
    return [
        *told,
        *found.matched.said,
        *(f"{name}: not compared: {why}." for name, why in found.matched.refused.items()),
    ]


def _sentence(told: Comparison, first: str, second: str) -> str:
    of = f"on these {told.n:,} items"
    ends = signed_ends_of(told.low, told.high)
    if told.verdict != NOT_SHOWN:
        sure = f"{signed(told.difference)} {ends}, p {p_value(told.p_adjusted)}"
        return f"{told.metric}: {first} is {told.verdict} than {second} {of} and others like them ({sure})."
    could = (
        "" if told.smallest is None else f" A true difference of {format_score(told.smallest)} would have been shown."
    )
    return (
        f"{told.metric}: {signed(told.difference)} {ends} {of}, p {p_value(told.p_adjusted)}: no difference shown."
        f"{could}{_needed(told)}"
    )


def _needed(told: Comparison) -> str:
    if told.difference == 0:
        return ""
    if told.items_needed is None:
        return " No number of items would show one as small as this."
    return f" To show one of {format_score(abs(told.difference))} it takes about {_round(told.items_needed):,} items."


def _round(number: int) -> int:
    """Two digits of it: no more are known."""
    digits = max(0, len(str(number)) - 2)
    return round(number, -digits)


def _no_worse(told: Comparison, first: str, second: str) -> str | None:
    if told.margin is None or told.p_no_worse is None:
        return None
    shown = "is" if told.p_no_worse < 0.05 else "is not shown to be"
    return (
        f"{told.metric}: {first} {shown} no worse than {second} by {format_score(told.margin)} or more "
        f"(p {p_value(told.p_no_worse)})."
    )


def changed_items(found: TwoRuns, name: str, most: int) -> tuple[str, Sequence[Change]]:
    """How many items are better, worse and the same by a metric, and those that changed most."""
    every = changes(found.matched, name)
    better, worse = sum(change.gain > 0 for change in every), sum(change.gain < 0 for change in every)
    told = f"By {name}, {better} items are better with {found.names[0]}, {worse} worse, {len(every) - better - worse} the same"
    return told, [change for change in every if change.gain][:most]
