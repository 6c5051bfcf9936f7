"""What every finished run scored, item by item, read from its ``examples/``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fairtune.errors import RecordError
from fairtune.evaluate.metrics import Metric, metrics_of
from fairtune.records import RunFolder, RunRecord, read_lines
from fairtune.stats import NO_INTERVAL, Floats, Scores, clusters_of
from fairtune.study import RunSpec


@dataclass(frozen=True)
class Entry:
    """A run as asked, and what there is of it. ``problem`` says why there is no record."""

    spec: RunSpec
    folder: RunFolder
    record: RunRecord | None
    problem: str | None = None

    @property
    def ok(self) -> bool:
        """Whether the run has results."""
        return self.record is not None and self.record.status == "ok"

    @property
    def status(self) -> str:
        """The record's status; or ``unreadable``, ``missing``, or ``waiting`` for trials."""
        if self.record is None and self.problem is None and self.spec.tuned and self.spec.tuned.open:
            return "waiting"
        return self.record.status if self.record else "unreadable" if self.problem else "missing"

    @property
    def reason(self) -> str | None:
        """Why it has no results, where somebody said so."""
        if self.status == "waiting":
            return self.spec.tuned.open if self.spec.tuned else None
        return self.problem or (self.record.error.message if self.record and self.record.error else None)


@dataclass(frozen=True)
class Table:
    """Items of a run and what a metric keeps of each.

    ``items``: id and prompt as the model saw it, since another template asks something else. ``clusters``: what each
    belongs to, where that is known.
    """

    items: tuple[str, ...]
    statistics: Floats
    clusters: tuple[str | None, ...]


@dataclass
class Tables:
    """By run and metric; and what could not be read."""

    found: dict[tuple[str, str], Table] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def scores(self, entries: Sequence[Entry], name: str, metric: Metric) -> Scores | None:
        """Of runs over the same items; None where one is missing or scored others, or items do not make the number."""
        tables = [self.found.get((entry.spec.run_id, name)) for entry in entries]
        known = [table for table in tables if table is not None]
        if not known or len(known) < len(tables) or not metric.statistics:
            return None
        if len({table.items for table in known}) > 1:
            return None
        statistics = np.stack([table.statistics for table in known])
        named = next((table.clusters for table in known if None not in table.clusters), known[0].clusters)
        return Scores(statistics, metric.aggregate, metric.proportion, clusters_of(named))

    def items(self, entry: Entry, name: str) -> tuple[str, ...] | None:
        """What a run was asked."""
        table = self.found.get((entry.spec.run_id, name))
        return table.items if table else None


def read_tables(entries: Iterable[Entry]) -> Tables:
    """Of every run that is done. A damaged or missing file is a problem of its run and metric alone."""
    tables = Tables()
    for entry in entries:
        for name, metric in metrics_of(entry.spec).items() if entry.ok else ():
            if metric.needs == "benchmark" and metric.statistics and not _made_of_items(entry, name):
                continue
            try:
                tables.found[entry.spec.run_id, name] = read_table(entry.folder.examples(name), metric)
            except RecordError as error:
                tables.problems.append(f"{error}; differences with this run are left out")
    return tables


def _made_of_items(entry: Entry, name: str) -> bool:
    """Whether a benchmark's number is the sum of its items that its metric takes it for; it has an interval then."""
    value = entry.record.metrics.get(name) if entry.record else None
    return value is not None and value.interval != NO_INTERVAL


def read_table(path: Path, metric: Metric) -> Table:
    """What a metric keeps of every item.

    Raises:
        RecordError: the file is missing or damaged.
    """
    return table_of(read_lines(path), metric, str(path))


def table_of(lines: Sequence[Mapping[str, Any]], metric: Metric, where: str) -> Table:
    """What a metric keeps of these items.

    Raises:
        RecordError: a number is missing.
    """
    try:
        numbers = [[_number(line["scores"], key, metric) for key in metric.statistics] for line in lines]
        items = tuple(f"{line['id']} {line['prompt_hash']}" for line in lines)
    except (KeyError, TypeError, ValueError) as error:
        raise RecordError(f"{where}: damaged, an item lacks {error}") from None
    statistics = np.array(numbers, dtype=np.float64).reshape(len(lines), len(metric.statistics))
    return Table(items, statistics, tuple(line.get("cluster") for line in lines))


def _number(scores: Mapping[str, float], key: str, metric: Metric) -> float:
    return float(scores.get(key, 0.0) if metric.sparse else scores[key])
