"""What ``fairtune compare`` says of two runs, item by item."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from fairtune.report.comparisons import LEVEL, NOT_SHOWN, Comparison, Pair, Side, compare
from fairtune.report.matching import By, Change, Matched, changes, match
from fairtune.report.names import DASH, ends_of, format_score, method_name, p_value, signed, signed_ends_of, two_digits
from fairtune.report.tables import Entry
from fairtune.stats import estimate

TWO_RUNS = "two runs"
_ARROWS = {True: " ↑", False: " ↓", None: ""}


@dataclass(frozen=True)
class TwoRuns:
    """Two runs, what is the same of them, and what was found."""

    a: Entry
    b: Entry
    matched: Matched
    comparisons: tuple[Comparison, ...]

    @property
    def names(self) -> tuple[str, str]:
        """As short as they can be told apart."""
        specs = [self.a.spec, self.b.spec]
        first, second = (method_name(spec, specs) for spec in specs)
        if first != second:
            return first, second
        seeds = [spec.seed for spec in specs]
        tags = [f"seed {seed}" for seed in seeds] if seeds[0] != seeds[1] else ["A", "B"]
        return f"{first} ({tags[0]})", f"{second} ({tags[1]})"


def compare_two(
    a: Entry, b: Entry, by: By = "hash", shared: bool = False, margins: Mapping[str, float] | None = None
) -> TwoRuns:
    """Every metric that both have, over the same items; p-values hold for all of them together.

    Raises:
        SpecError, RecordError: as :func:`match`.
    """
    if a.spec.run_id == b.spec.run_id:  # the same run, of two machines
        b = replace(b, spec=b.spec.model_copy(update={"run_id": f"{b.spec.run_id} (B)"}))
    matched = match(a, b, by, shared)
    pair = Pair(TWO_RUNS, Side((a,)), Side((b,)))
    return TwoRuns(a, b, matched, tuple(compare([pair], matched.tables, matched.metrics, margins)))


def as_json(found: TwoRuns) -> list[dict[str, Any]]:
    """An entry a metric, as ``comparisons`` of a report; of one that could not be compared its name and the reason."""
    told = {comparison.metric for comparison in found.comparisons}
    alone = {name: "there is one item, or a score is no number" for name in found.matched.metrics if name not in told}
    sides = {"a": found.a.spec.cell, "b": found.b.spec.cell}
    refused = [{"metric": name, **sides, "reason": why} for name, why in {**found.matched.refused, **alone}.items()]
    return [*(asdict(comparison) for comparison in found.comparisons), *refused]


def table_rows(found: TwoRuns) -> list[dict[str, str]]:
    """A row a metric."""
    return [_row(found, told) for told in found.comparisons]


def _row(found: TwoRuns, told: Comparison) -> dict[str, str]:
    metric = found.matched.metrics[told.metric]
    scores = [_score(found, entry, told.metric) for entry in (found.a, found.b)]
    return {
        "metric": told.metric + _ARROWS[metric.higher_is_better],
        **dict(zip(found.names, scores, strict=True)),
        "difference": f"{signed(told.difference)} {signed_ends_of(told.low, told.high)}",
        "p": p_value(told.p_adjusted),
        "verdict": told.verdict,
        "could have shown": DASH if told.smallest is None else format_score(told.smallest),
    }


def _score(found: TwoRuns, entry: Entry, name: str) -> str:
    """Over the items that were compared."""
    scores = found.matched.tables.scores([entry], name, found.matched.metrics[name])
    value = estimate(scores) if scores else None
    return f"{format_score(value.value)} {ends_of(value.low, value.high)}" if value else DASH


def sentences(found: TwoRuns) -> Iterator[str]:
    """The answer in words, a sentence a metric; then what it does not say."""
    for told in found.comparisons:
        yield _sentence(told, *found.names)
    for told in found.comparisons:
        if told.margin is not None and told.p_no_worse is not None:
            yield _no_worse(told, *found.names)
    if any(told.seeds for told in found.comparisons):
        yield (
            "This speaks of these two runs. Whether their methods differ, other seeds must say: the report of a study "
            "with three seeds or more does."
        )
    for said in found.matched.said:
        yield f"{said}."
    for name, why in found.matched.refused.items():
        yield f"{name}: not compared: {why}."


def _sentence(told: Comparison, first: str, second: str) -> str:
    ends, p = signed_ends_of(told.low, told.high), p_value(told.p_adjusted)
    change = f"{signed(told.difference)} {ends}, p {p}"
    if told.verdict != NOT_SHOWN:
        return f"{told.metric}: {first} is {told.verdict} than {second} on items like these {told.n:,} ({change})."
    could = "" if told.smallest is None else f" One of {format_score(told.smallest)} would be, four times in five."
    return f"{told.metric}: {change}: on these {told.n:,} items no difference is shown.{could}{_needed(told)}"


def _needed(told: Comparison) -> str:
    if told.difference == 0 or told.smallest is None:
        return ""
    if told.items_needed is None:
        return ""
    items = two_digits(told.items_needed)
    return f" To show one as small as {format_score(abs(told.difference))} takes about {items:,} items."


def _no_worse(told: Comparison, first: str, second: str) -> str:
    shown = told.p_no_worse is not None and told.p_no_worse < LEVEL
    lead = (
        f"{told.metric}: {first} {'loses' if shown else 'is not shown to lose'} less than {format_score(told.margin)}"
    )
    return f"{lead} against {second} (p {p_value(told.p_no_worse)}, one-sided)."


def changed_items(found: TwoRuns, most: int) -> tuple[str, Sequence[Change]]:
    """How many items are better, worse and the same, and those that changed most.

    By the metric that tells most items apart, of written answers if there are any: two words have no BLEU.
    """
    written = [name for name, (lines, _) in found.matched.lines.items() if any(line.get("output") for line in lines)]
    by_metric = {name: changes(found.matched, name) for name in written or found.matched.metrics}
    name, every = max(by_metric.items(), key=lambda pair: sum(change.gain != 0 for change in pair[1]))
    better, worse = sum(change.gain > 0 for change in every), sum(change.gain < 0 for change in every)
    same = len(every) - better - worse
    told = f"By {name}, {better} items are better with {found.names[0]}, {worse} worse, {same} the same"
    return told, [change for change in every if change.gain][:most]
