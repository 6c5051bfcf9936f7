"""CSV: a line for each run and metric, and for each comparison of a judge; numbers unrounded."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from functools import partial

from fairtune.records import Phase, RunRecord
from fairtune.report.collect import Report, Row
from fairtune.report.judged import Judged
from fairtune.report.predicted import PHASES, Pair, peak_of, seconds_of

_HEADINGS = (
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


def render(report: Report) -> str:
    """An empty cell is a missing number."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_HEADINGS)
    for row in report.rows:
        for name in report.metrics:
            more = [_augmentation(row), *_phases(row), *_predicted(row), _reason(row)]
            writer.writerow([*_run(report, row), *_score(row, name), *_cost(row), *more])
    for found in report.judged:
        writer.writerow(_judged(report, found))
    return text.getvalue()


def _judged(report: Report, found: Judged) -> list[str | float | None]:
    """A judge's win rate stands where a metric does."""
    spec, against = found.run, found.against
    run = [report.study, spec.model.name, spec.method.label, spec.precision, spec.seed, spec.run_id, found.status]
    rate = found.record.win_rate if found.record else None
    score = [rate.value, rate.low, rate.high, rate.n] if rate else [None] * 4
    name = f"win rate against {against.method.label} ({against.run_id}), judged by {found.judge}"
    cells = [*run, name, *score, *([None] * 8), spec.augment.label if spec.augment else ""]
    return [*cells, *([None] * (len(_HEADINGS) - len(cells)))]


def _run(report: Report, row: Row) -> list[str]:
    spec = row.spec
    seed = "mean" if row.mean else str(spec.seed)
    status = "ok" if row.mean else row.entries[0].status
    runs = "+".join(entry.spec.run_id for entry in row.entries)
    return [report.study, spec.model.name, spec.method.label, spec.precision, seed, runs, status]


def _augmentation(row: Row) -> str:
    return row.spec.augment.label if row.spec.augment else ""


def _score(row: Row, name: str) -> list[str | float | None]:
    value, gain = row.values.get(name), row.uplift.get(name)
    score = [value.value, value.low, value.high, value.n] if value else [None] * 4
    return [name, *score, *([gain.difference, gain.low, gain.high] if gain else [None] * 3)]


def _cost(row: Row) -> list[float | None]:
    return [
        row.average(lambda record: record.parameters.trainable if record.parameters else None),
        row.seconds("train"),
        row.average(lambda record: record.throughput.train_tokens_per_second),
        _peak(row, "train"),
        _peak(row, "evaluate"),
    ]


def _phases(row: Row) -> list[float | None]:
    seconds = [row.seconds(phase) for phase in PHASES if phase != "train"]
    return [*seconds, _peak(row, "load"), _peak(row, "generate")]


def _peak(row: Row, phase: Phase) -> float | None:
    return row.average(lambda record: peak_of(record, phase).measured)


def _predicted(row: Row) -> list[str | float | None]:
    """The verdict of a run, and what was to be; of several runs the mean."""
    verdict = row.entries[0].record.plan.verdict if row.entries[0].record and not row.mean else None
    numbers = [row.average(partial(_foreseen, of, phase)) for phase in PHASES for of in (peak_of, seconds_of)]
    return [verdict, *numbers]


def _foreseen(of: Callable[[RunRecord, Phase], Pair], phase: Phase, record: RunRecord) -> float | None:
    return of(record, phase).predicted


def _reason(row: Row) -> str | None:
    return None if row.mean or row.entries[0].ok else row.entries[0].reason
