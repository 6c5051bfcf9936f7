"""What every run answered to every item, and how that was scored, read from ``examples/``."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fairtune.errors import RecordError
from fairtune.evaluate.metrics import Floats, Metric, metrics_of
from fairtune.records import read_lines
from fairtune.report.collect import Report
from fairtune.report.tables import Entry

DIGITS = 6
"""Of an item's score that matter; both the counts and the page use the rounded number."""


@dataclass
class Item:
    """A question as a model saw it: another template makes another item of it."""

    id: str
    reference: str
    outputs: dict[int, str] = field(default_factory=dict)
    """By the number of the run."""
    scores: dict[tuple[int, int], float] = field(default_factory=dict)
    """By the numbers of metric and run; only finite ones."""

    @property
    def order(self) -> str:
        """A hash of the id: a choice that nobody made."""
        return hashlib.sha256(self.id.encode()).hexdigest()


@dataclass(frozen=True)
class Pool:
    """Items in the order of the files, of runs that have results. ``problems``: files that could not be read."""

    entries: tuple[Entry, ...]
    metrics: tuple[str, ...]
    items: tuple[Item, ...]
    problems: tuple[str, ...]

    def scores(self, items: Sequence[Item]) -> Floats:
        """``(metrics, runs, items)``; not a number where there is none."""
        table = np.full((len(self.metrics), len(self.entries), len(items)), np.nan)
        for at, item in enumerate(items):
            for (metric, run), score in item.scores.items():
                table[metric, run, at] = score
        return table


def read_pool(report: Report) -> Pool:
    """All items of all runs. A file that is missing or damaged costs its numbers, not the page."""
    entries = tuple(entry for entry in report.entries if entry.ok)
    items: dict[str, Item] = {}
    problems: list[str] = []
    for run, entry in enumerate(entries):
        for name, metric in metrics_of(entry.spec).items():
            try:
                lines = read_lines(entry.folder.examples(name))
                _add(items, lines, metric, (report.metrics.index(name), run))
            except RecordError as error:
                problems.append(str(error))
            except (KeyError, TypeError, ValueError) as error:
                problems.append(f"{entry.folder.examples(name)}: damaged, an item lacks {error}")
    return Pool(entries, report.metrics, tuple(items.values()), tuple(problems))


def _add(items: dict[str, Item], lines: Sequence[Mapping[str, Any]], metric: Metric, at: tuple[int, int]) -> None:
    scores = _scores(lines, metric)
    for line, score in zip(lines, scores, strict=True):
        key = f"{line['id']} {line['prompt_hash']}"
        item = items.setdefault(key, Item(str(line["id"]), str(line.get("reference") or "")))
        if line.get("output") is not None:
            item.outputs.setdefault(at[1], str(line["output"]))
        if score is not None:
            item.scores[at] = score


def _scores(lines: Sequence[Mapping[str, Any]], metric: Metric) -> list[float | None]:
    """The metric of each item by itself."""
    if not metric.statistics or not lines:
        return [None] * len(lines)
    numbers = [[_number(line["scores"], key, metric) for key in metric.statistics] for line in lines]
    with np.errstate(all="ignore"):  # an item alone may have nothing to divide by
        values = metric.aggregate(np.array(numbers, dtype=np.float64))
    return [float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None for value in values]


def _number(scores: Mapping[str, float], key: str, metric: Metric) -> float:
    return float(scores.get(key, 0.0) if metric.sparse else scores[key])
