"""From outcomes to metrics with intervals, and to the files that hold every item."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from fairtune.evaluate.metrics import Metric, Outcome, metrics_of
from fairtune.execute.confined import confinement_of
from fairtune.records import LabelScores, MetricValue, RunFolder, write_lines
from fairtune.stats import Scores, clusters_of, estimate
from fairtune.study import RunSpec

Stage: TypeAlias = Literal["likelihood", "generation", "programs"]
"""What outcomes have come to know last."""


@dataclass(frozen=True)
class Stated:
    """What numbers depend on besides items and metric, told in their ``signature``.

    ``windows``: of likelihoods of plain text. ``choosing``: of answers that are chosen by likelihood.
    """

    windows: str | None = None
    choosing: str | None = None

    def signature(self, metric: Metric) -> str | None:
        """That of the metric's library, and what is stated of it here."""
        about = {"likelihood": self.windows, "generation": self.choosing}.get(metric.needs)
        return "|".join(part for part in (metric.signature(), about) if part) or None


def stage_of(metric: Metric) -> Stage | None:
    """After which a metric can be had; None for a number of a benchmark, which has items of its own."""
    if metric.needs == "benchmark":
        return None
    return "programs" if metric.runs_code else metric.needs


def score(
    spec: RunSpec, outcomes: Sequence[Outcome], folder: RunFolder, stage: Stage, stated: Stated | None = None
) -> dict[str, MetricValue]:
    """Every metric that can be had after this stage and not before; writes ``examples/<metric>.jsonl`` for each."""
    values: dict[str, MetricValue] = {}
    for name, metric in metrics_of(spec).items():
        if stage_of(metric) != stage:
            continue
        items = [metric.item(outcome) for outcome in outcomes]
        value = metric_value(metric, outcomes, items, stated)
        values[name] = value.model_copy(update={"signature": confinement_of(spec)}) if metric.runs_code else value
        write_lines(folder.examples(name), _lines(metric, outcomes, items))
    return values


def metric_value(
    metric: Metric, outcomes: Sequence[Outcome], items: Sequence[tuple[float, ...]], stated: Stated | None = None
) -> MetricValue:
    """Value and 95 % interval of one run, from what the metric keeps of each outcome."""
    clusters = clusters_of([outcome.cluster for outcome in outcomes])
    scores = Scores(np.array([items], dtype=np.float64), metric.aggregate, metric.proportion, clusters)
    found = estimate(scores)
    return MetricValue(
        value=found.value,
        low=found.low,
        high=found.high,
        n=scores.items,
        unit=metric.unit,
        higher_is_better=metric.higher_is_better,
        version=metric.version,
        interval=found.method,
        signature=(stated or Stated()).signature(metric),
        reason=found.reason,
        per_label=_per_label(metric, scores),
    )


def _per_label(metric: Metric, scores: Scores) -> dict[str, LabelScores] | None:
    found = metric.by_label(scores.sums[0])
    return None if found is None else {label: LabelScores.model_validate(scores) for label, scores in found.items()}


def _scores(metric: Metric, numbers: tuple[float, ...]) -> dict[str, float]:
    found = zip(metric.statistics, numbers, strict=True)
    return {name: number for name, number in found if number or not metric.sparse}


def _lines(metric: Metric, outcomes: Sequence[Outcome], items: Sequence[tuple[float, ...]]) -> Iterator[dict[str, Any]]:
    for outcome, numbers in zip(outcomes, items, strict=True):
        generated = metric.needs == "generation"
        yield {
            "id": outcome.id,
            "prompt_hash": outcome.prompt_hash,
            "output": outcome.output if generated else None,
            "reference": outcome.reference,
            "scores": _scores(metric, numbers),
            "tokens": outcome.output_tokens if generated else outcome.loss_tokens,
            "stopped": outcome.stopped if generated else None,
            **({"cluster": outcome.cluster} if outcome.cluster is not None else {}),
            **({"samples": [asdict(trial) for trial in outcome.trials]} if metric.runs_code else {}),
        }
