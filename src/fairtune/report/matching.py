"""Two runs, perhaps of two machines, whose items are found in each other by what stands in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from fairtune.errors import RecordError, SpecError
from fairtune.evaluate.metrics import Metric, metric_of
from fairtune.records import read_lines
from fairtune.report.tables import Entry, Table, Tables, table_of
from fairtune.stats import NO_INTERVAL

By = Literal["hash", "id"]
Lines = Sequence[Mapping[str, Any]]
Key = tuple[str, str, int]


@dataclass
class Matched:
    """Metrics of both runs over the same items in the same order, and what stands in the way of others.

    ``lines``: by metric, the items of both, as ``examples/`` has them. ``refused``: by metric, why not.
    ``said``: what is to be known of what was compared.
    """

    tables: Tables = field(default_factory=Tables)
    metrics: dict[str, Metric] = field(default_factory=dict)
    lines: dict[str, tuple[Lines, Lines]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)


def match(a: Entry, b: Entry, by: By = "hash", shared: bool = False) -> Matched:
    """Finds the items of one run in the other.

    Args:
        by: ``hash``: of the prompt as the model saw it, and the reference. ``id``: of the row, and the reference; for
            models that read the same question in other tokens.
        shared: compare the items that both have, where each has others too.

    Raises:
        SpecError: no metric can be compared, with every reason; or the items differ, saying how.
        RecordError: a file of items is missing or damaged.
    """
    matched = Matched()
    for name in dict.fromkeys((*a.spec.scores, *b.spec.scores)):
        reason = _unlike(a, b, name)
        if reason:
            matched.refused[name] = reason
        else:
            _match_metric(matched, a, b, name, by, shared)
    if not matched.metrics:
        why = "; ".join(f"{name}: {reason}" for name, reason in matched.refused.items()) or "they have no metrics"
        raise SpecError(f"the runs cannot be compared: {why}")
    matched.said = list(dict.fromkeys(matched.said))
    return matched


def _unlike(a: Entry, b: Entry, name: str) -> str | None:
    """Why two numbers of one name are not the same thing."""
    values = [entry.record.metrics.get(name) if entry.record else None for entry in (a, b)]
    ours, theirs = values
    if ours is None or theirs is None:
        return f"only {'the first' if ours else 'the second' if theirs else 'neither'} run has it"
    if ours.version != theirs.version:
        return f"its meaning changed: version {ours.version} of the metric, and version {theirs.version}"
    metrics = [metric_of(entry.spec, name) for entry in (a, b)]
    for value in (ours, theirs):
        if metrics[0].needs == "benchmark" and value.interval == NO_INTERVAL:
            return f"it is not made of its items alone: {value.reason}"
    if metrics[0].statistics != metrics[1].statistics:
        return "it counts other things: the label sets differ"
    return None if metrics[0].statistics else "it is no function of what its items score, so it cannot be compared"


def _match_metric(matched: Matched, a: Entry, b: Entry, name: str, by: By, shared: bool) -> None:
    ours, theirs = (read_lines(entry.folder.examples(name)) for entry in (a, b))
    for entry, lines in ((a, ours), (b, theirs)):
        _require_keys(lines, str(entry.folder.examples(name)))
    places = [{key: place for place, key in enumerate(_keys(lines, by))} for lines in (ours, theirs)]
    common = [key for key in places[0] if key in places[1]]
    if len(common) < max(len(ours), len(theirs)):
        if not common or not shared:
            raise SpecError(_how_they_differ(name, ours, theirs, len(common), by))
        matched.said.append(
            f"{len(common):,} items are in both runs and were compared; the first has {len(ours):,}, the second "
            f"{len(theirs):,}"
        )
    _note_signatures(matched, a, b, name)
    metric = metric_of(a.spec, name)
    rows = [[lines[place[key]] for key in common] for lines, place in zip((ours, theirs), places, strict=True)]
    items = tuple(" ".join(map(str, key)) for key in common)
    for entry, chosen in zip((a, b), rows, strict=True):
        table = table_of(chosen, metric, str(entry.folder.examples(name)))
        matched.tables.found[entry.spec.run_id, name] = Table(items, table.statistics, table.clusters)
    matched.metrics[name], matched.lines[name] = metric, (rows[0], rows[1])


def _require_keys(lines: Lines, where: str) -> None:
    missing = [key for line in lines for key in ("id", "prompt_hash", "reference") if key not in line]
    if missing:
        raise RecordError(f"{where}: damaged, an item lacks {missing[0]!r}")


def _keys(lines: Lines, by: By) -> Iterable[Key]:
    """What an item is known by; the same thing asked twice is two items."""
    seen: Counter[tuple[str, str]] = Counter()
    for line in lines:
        key = str(line["prompt_hash"] if by == "hash" else line["id"]), str(line["reference"])
        seen[key] += 1
        yield (*key, seen[key])


def _how_they_differ(name: str, ours: Lines, theirs: Lines, common: int, by: By) -> str:
    counts = f"{name}: the first run has {len(ours):,} items, the second {len(theirs):,}, and {common:,} are the same"
    other: By = "id" if by == "hash" else "hash"
    alike = len({tuple(key) for key in _keys(ours, other)} & {tuple(key) for key in _keys(theirs, other)})
    if common:
        return f"{counts}; --shared compares those"
    if by == "hash" and alike:
        return (
            f"{counts}: {alike:,} rows are the same, and were put to the models in other tokens (another tokenizer or "
            "template); --match id compares them nevertheless"
        )
    return f"{counts}: they were scored on other data"


def _note_signatures(matched: Matched, a: Entry, b: Entry, name: str) -> None:
    signatures = [entry.record.metrics[name].signature for entry in (a, b) if entry.record]
    if signatures[0] != signatures[1]:
        matched.said.append(f"{name} was computed as {signatures[0]}, and as {signatures[1]}")


@dataclass(frozen=True)
class Change:
    """An item of two runs. ``gain``: of the first over the second, positive where it is better."""

    id: str
    reference: str
    a_output: str | None
    b_output: str | None
    a_score: float
    b_score: float
    gain: float


def changes(matched: Matched, name: str) -> list[Change]:
    """Every item whose score by itself is a number, those that changed most first."""
    metric, (ours, theirs) = matched.metrics[name], matched.lines[name]
    scores = [_item_scores(lines, metric) for lines in (ours, theirs)]
    sign = -1.0 if metric.higher_is_better is False else 1.0
    found = [
        Change(
            id=str(a["id"]),
            reference=str(a["reference"]),
            a_output=a.get("output"),
            b_output=b.get("output"),
            a_score=float(x),
            b_score=float(y),
            gain=sign * float(x - y),
        )
        for a, b, x, y in zip(ours, theirs, *scores, strict=True)
        if np.isfinite([x, y]).all()
    ]
    return sorted(found, key=lambda change: -abs(change.gain))


def _item_scores(lines: Lines, metric: Metric) -> Any:
    with np.errstate(divide="ignore", invalid="ignore"):
        return metric.aggregate(table_of(lines, metric, "").statistics)
