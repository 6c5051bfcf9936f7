"""What was predicted of runs, beside what was measured then."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from fairtune.records import Fit, Phase, RunRecord
from fairtune.report.collect import Row

PHASES: tuple[Phase, ...] = ("load", "train", "evaluate", "generate")
"""That are planned."""

FITS: dict[Fit, str] = {"does_not_fit": "does not fit", "unknown": "unknown", "tight": "tight", "fits": "fits"}
"""Verdicts in words, the gravest first."""


@dataclass(frozen=True)
class Pair:
    """A prediction and a measurement of the same thing; None for what is not known."""

    predicted: float | None = None
    measured: float | None = None

    @property
    def error(self) -> float | None:
        """By what share of the measurement the prediction is more."""
        return self.predicted / self.measured - 1 if self.predicted is not None and self.measured else None


def peak_of(record: RunRecord, phase: Phase) -> Pair:
    """Bytes that a phase took at most."""
    planned, cost = record.plan.phases.get(phase), record.phases.get(phase)
    return Pair(planned.peak_bytes if planned else None, cost.peak_bytes if cost else None)


def seconds_of(record: RunRecord, phase: Phase) -> Pair:
    """Seconds that a phase took."""
    planned, cost = record.plan.phases.get(phase), record.phases.get(phase)
    return Pair(planned.seconds if planned else None, cost.seconds if cost else None)


def whole_peak(record: RunRecord) -> Pair:
    """The largest of all phases whose peak was predicted; measured if the run came through them."""
    return Pair(record.plan.peak_bytes, _measured(max, record, peak_of))


def whole_seconds(record: RunRecord) -> Pair:
    """All phases whose length was predicted, together; measured if the run came through them."""
    return Pair(record.plan.seconds, _measured(sum, record, seconds_of))


def _measured(
    together: Callable[[list[float]], float], record: RunRecord, of: Callable[[RunRecord, Phase], Pair]
) -> float | None:
    pairs = [of(record, phase) for phase in record.plan.phases]
    found = [pair.measured for pair in pairs if pair.predicted is not None]
    known = [number for number in found if number is not None]
    return together(known) if record.status == "ok" and known and len(known) == len(found) else None


def largest(row: Row, of: Callable[[RunRecord], Pair]) -> Pair:
    """Over the row's runs: what must be there for all of them."""
    return _over(row, of, max)


def mean(row: Row, of: Callable[[RunRecord], Pair]) -> Pair:
    """Over the row's runs."""
    return _over(row, of, lambda numbers: sum(numbers) / len(numbers))


def _over(row: Row, of: Callable[[RunRecord], Pair], together: Callable[[Sequence[float]], float]) -> Pair:
    """Of runs that have both numbers, if any has; else of those that have one."""
    pairs = [of(entry.record) for entry in row.entries if entry.record]
    pairs = [pair for pair in pairs if pair.error is not None] or pairs
    predicted = [pair.predicted for pair in pairs if pair.predicted is not None]
    measured = [pair.measured for pair in pairs if pair.measured is not None]
    return Pair(together(predicted) if predicted else None, together(measured) if measured else None)


def is_planned(records: Iterable[RunRecord | None]) -> bool:
    """Whether any number was predicted at all."""
    plans = [record.plan for record in records if record]
    return any(plan.peak_bytes is not None or plan.seconds is not None for plan in plans)


def as_json(record: RunRecord) -> dict[str, Any]:
    """``{run_id, verdict, peak_bytes, seconds, phases: {train: {peak_bytes, seconds}, …}}``.

    Each number is a ``{predicted, measured, error}``, the error a share of what was measured.
    """
    return {
        "run_id": record.run_id,
        "verdict": record.plan.verdict,
        "reason": record.plan.reason,
        "peak_bytes": _plain(whole_peak(record)),
        "seconds": _plain(whole_seconds(record)),
        "phases": {
            phase: {"peak_bytes": _plain(peak_of(record, phase)), "seconds": _plain(seconds_of(record, phase))}
            for phase in PHASES
            if phase in record.plan.phases or phase in record.phases
        },
    }


def _plain(pair: Pair) -> dict[str, float | None]:
    return {"predicted": pair.predicted, "measured": pair.measured, "error": pair.error}
