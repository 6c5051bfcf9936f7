"""Items for the browser to choose from: all of them where they are few, else as many as a budget holds."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fairtune.evaluate.metrics import Floats, Metric
from fairtune.report.collect import Report
from fairtune.report.html.names import run_name
from fairtune.report.html.pool import Item, Pool

BUDGET = 2_500_000
"""Bytes of JSON."""
LONGEST = 600
"""Characters of a text where the budget does not hold all."""
_CHANGED = 0.75
"""Share of the budget for the items that changed most; the rest is a sample by hash."""
_SAME = 1e-9


@dataclass(frozen=True)
class Embedded:
    """The JSON, and what to say of it."""

    text: str
    shown: int
    total: int
    cut: bool
    runs: tuple[str, ...]
    metrics: tuple[str, ...]
    pair: tuple[int, int]
    metric: int


def embedded(report: Report, pool: Pool, prompts: Mapping[str, str], budget: int = BUDGET) -> Embedded | None:
    """None where there is nothing to compare: fewer than two runs, or no item with a score."""
    scored = [item for item in pool.items if item.scores]
    if len(pool.entries) < 2 or not scored:
        return None
    lines = [_line(item, pool, prompts, None) for item in scored]
    kept, cut = list(range(len(scored))), False
    if sum(map(len, lines)) > budget:
        lines, cut = [_line(item, pool, prompts, LONGEST) for item in scored], True
        kept = _chosen(scored, [len(line) for line in lines], pool, budget)
    runs = tuple(run_name(entry.spec, report) for entry in pool.entries)
    metric = _first_metric(report, pool)
    head = {
        "runs": runs,
        "metrics": [_about(report.known[name]) for name in pool.metrics],
        "counts": _counts(pool.scores(scored)) if len(kept) < len(scored) else None,
    }
    body = ",".join(lines[at] for at in kept)
    text = f'{safe_json(head)[:-1]},"items":[{body}]}}'
    return Embedded(text, len(kept), len(scored), cut, runs, pool.metrics, _first_pair(report, pool, metric), metric)


def safe_json(value: Any) -> str:
    """JSON that can stand inside a script element: nothing in it ends the element, or begins a comment."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for character in ("<", ">", "&", "\u2028", "\u2029"):
        text = text.replace(character, f"\\u{ord(character):04x}")
    # A lone half of a pair of surrogates is no UTF-8.
    return "".join(f"\\u{ord(c):04x}" if "\ud800" <= c <= "\udfff" else c for c in text)


def shortened(text: str, longest: int | None = LONGEST) -> str:
    """With an ellipsis where it was cut."""
    return text if longest is None or len(text) <= longest else text[: longest - 1].rstrip() + "…"


def _line(item: Item, pool: Pool, prompts: Mapping[str, str], longest: int | None) -> str:
    """``[id, prompt, reference, outputs by run, scores by metric and run]``."""
    prompt = prompts.get(item.id)
    runs = range(len(pool.entries))
    return safe_json(
        [
            item.id,
            None if prompt is None else shortened(prompt, longest),
            shortened(item.reference, longest),
            [shortened(item.outputs[run], longest) if run in item.outputs else None for run in runs],
            [[item.scores.get((metric, run)) for run in runs] for metric in range(len(pool.metrics))],
        ]
    )


def _about(metric: Metric) -> dict[str, Any]:
    return {"name": metric.name, "higher": metric.higher_is_better, "written": metric.needs == "generation"}


def _chosen(items: Sequence[Item], sizes: Sequence[int], pool: Pool, budget: int) -> list[int]:
    """Numbers of the items that changed most, then of others by hash, while there is room; in their order."""
    change = _changes(pool.scores(items))
    by_change = sorted(range(len(items)), key=lambda at: (-change[at], items[at].order))
    by_hash = sorted(range(len(items)), key=lambda at: items[at].order)
    kept: dict[int, None] = {}
    used = 0
    for order, room in ((by_change, _CHANGED * budget), (by_hash, budget)):
        for at in order:
            if at not in kept and used + sizes[at] <= room:
                kept[at] = None
                used += sizes[at]
    return sorted(kept)


def _changes(scores: Floats) -> Floats:
    """Of each item the largest gap between two runs, over metrics, each in units of its own spread."""
    low = np.where(np.isnan(scores), np.inf, scores).min(axis=1)
    high = np.where(np.isnan(scores), -np.inf, scores).max(axis=1)
    gaps = np.where(high >= low, high - low, 0.0)
    largest = gaps.max(axis=1, keepdims=True)
    changes: Floats = (gaps / np.where(largest > 0, largest, 1.0)).max(axis=0)
    return changes


def _counts(scores: Floats) -> list[dict[str, list[int]]]:
    """For each metric, by ``"a,b"``: on how many of all items b is higher, lower, the same as a."""
    found: list[dict[str, list[int]]] = []
    for table in scores:
        pairs: dict[str, list[int]] = {}
        for a, b in itertools.combinations(range(len(table)), 2):
            both = ~(np.isnan(table[a]) | np.isnan(table[b]))
            first, second = table[a][both], table[b][both]
            bar = _SAME * np.maximum(1.0, np.maximum(np.abs(first), np.abs(second)))
            higher, lower = int((second - first > bar).sum()), int((first - second > bar).sum())
            pairs[f"{a},{b}"] = [higher, lower, len(first) - higher - lower]
        found.append(pairs)
    return found


def _first_metric(report: Report, pool: Pool) -> int:
    """Of written answers if there are any, and with a direction: the one that tells most items apart."""
    told: dict[int, int] = {}
    for item in pool.items:
        for at in {metric for metric, _ in item.scores}:
            told[at] = told.get(at, 0) + (
                len({score for (metric, _), score in item.scores.items() if metric == at}) > 1
            )

    def rank(at: int) -> tuple[bool, bool, bool, int, int]:
        metric = report.known[pool.metrics[at]]
        return at not in told, metric.needs != "generation", metric.higher_is_better is None, -told.get(at, 0), at

    return min(range(len(pool.metrics)), key=rank)


def _first_pair(report: Report, pool: Pool, metric: int) -> tuple[int, int]:
    """The untouched model and the best trained run; where either is missing, the first two."""
    name = pool.metrics[metric]
    way = report.known[name].higher_is_better

    def worth(run: int) -> float:
        record = pool.entries[run].record
        found = record.metrics.get(name) if record else None
        value = found.value if found else None
        return -np.inf if value is None else value if way is not False else -value

    trained = [run for run, entry in enumerate(pool.entries) if entry.spec.method.trains]
    untouched = [run for run, entry in enumerate(pool.entries) if not entry.spec.method.trains]
    if not trained or not untouched:
        return 0, 1
    best = max(trained, key=worth)
    model = pool.entries[best].spec.model
    own = [run for run in untouched if pool.entries[run].spec.model == model]
    return (own or untouched)[0], best
