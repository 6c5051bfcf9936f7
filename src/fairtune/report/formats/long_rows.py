"""The long format: a row for each run and metric, for each mean over seeds, and for each comparison of a judge."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from fairtune.records import Phase, RunRecord
from fairtune.report.collect import Report, Row
from fairtune.report.judged import Judged
from fairtune.report.predicted import PHASES, Pair, peak_of, seconds_of

HEADINGS = (
    *("study", "model", "method", "precision", "seed", "run_id", "status"),
    *("metric", "value", "low", "high", "n", "uplift", "uplift_low", "uplift_high"),
    *(
        "trainable_parameters",
        "train_seconds",
        "train_tokens_per_second",
        "train_peak_bytes",
        "evaluate_peak_bytes",
    ),
    "augmentation",
    *(f"{phase}_seconds" for phase in PHASES if phase != "train"),
    *("load_peak_bytes", "generate_peak_bytes", "plan"),
    *(f"predicted_{phase}_{what}" for phase in PHASES for what in ("peak_bytes", "seconds")),
    "reason",
)


Cell = str | int | float | None
"""None is a missing number, and the augmentation or plan of a run without one is an empty text."""
TEXTS = frozenset(
    ("study", "model", "method", "precision", "run_id", "status", "metric", "augmentation", "plan", "reason")
)
WHOLE = frozenset(("seed", "n"))
"""Columns of whole numbers; of the others that are no texts, all are real numbers."""
MEAN = "mean"
"""Stands for the seed where a row is the mean over several."""


def long_rows(report: Report) -> Iterator[list[Cell]]:
    """In the order of :data:`HEADINGS`; numbers unrounded."""
    for row in report.rows:
        for name in report.metrics:
            more = [_augmentation(row), *_phases(row), *_predicted(row), _reason(row)]
            yield [*_run(report, row), *_score(row, name), *_cost(row), *more]
    for found in report.judged:
        yield _judged(report, found)


def _judged(report: Report, found: Judged) -> list[Cell]:
    """A judge's win rate stands where a metric does."""
    spec, against = found.run, found.against
    run: list[Cell] = [
        report.study,
        spec.model.name,
        spec.method.label,
        spec.precision,
        spec.seed,
        spec.run_id,
        found.status,
    ]
    rate = found.record.win_rate if found.record else None
    score: list[Cell] = [rate.value, rate.low, rate.high, rate.n] if rate else [None] * 4
    name = f"win rate against {against.method.label} ({against.run_id}), judged by {found.judge}"
    cells = [*run, name, *score, *([None] * 8), spec.augment.label if spec.augment else ""]
    return [*cells, *([None] * (len(HEADINGS) - len(cells)))]


def _run(report: Report, row: Row) -> list[Cell]:
    spec = row.spec
    seed = MEAN if row.mean else spec.seed
    status = "ok" if row.mean else row.entries[0].status
    runs = "+".join(entry.spec.run_id for entry in row.entries)
    return [report.study, spec.model.name, spec.method.label, spec.precision, seed, runs, status]


def _augmentation(row: Row) -> str:
    return row.spec.augment.label if row.spec.augment else ""


def _score(row: Row, name: str) -> list[Cell]:
    value, gain = row.values.get(name), row.uplift.get(name)
    score = [value.value, value.low, value.high, value.n] if value else [None] * 4
    return [name, *score, *([gain.difference, gain.low, gain.high] if gain else [None] * 3)]


def _cost(row: Row) -> list[Cell]:
    return [
        row.average(lambda record: record.parameters.trainable if record.parameters else None),
        row.seconds("train"),
        row.average(lambda record: record.throughput.train_tokens_per_second),
        _peak(row, "train"),
        _peak(row, "evaluate"),
    ]


def _phases(row: Row) -> list[Cell]:
    seconds = [row.seconds(phase) for phase in PHASES if phase != "train"]
    return [*seconds, _peak(row, "load"), _peak(row, "generate")]


def _peak(row: Row, phase: Phase) -> float | None:
    return row.average(lambda record: peak_of(record, phase).measured)


def _predicted(row: Row) -> list[Cell]:
    """The verdict of a run, and what was to be; of several runs the mean."""
    verdict = row.entries[0].record.plan.verdict if row.entries[0].record and not row.mean else None
    numbers = [row.average(partial(_foreseen, of, phase)) for phase in PHASES for of in (peak_of, seconds_of)]
    return [verdict, *numbers]


def _foreseen(of: Callable[[RunRecord, Phase], Pair], phase: Phase, record: RunRecord) -> float | None:
    return of(record, phase).predicted


def _reason(row: Row) -> str | None:
    return None if row.mean or row.entries[0].ok else row.entries[0].reason
