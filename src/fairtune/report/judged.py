"""What a judge found of trained runs: a row a comparison, and what must be said beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fairtune.records import Judgement, Verdicts
from fairtune.stats import holm
from fairtune.study import RunSpec

JUDGED_HEADINGS = (
    *("run", "against", "win rate ↑", "items", "wins", "ties", "losses"),
    *("order flips", "first chosen", "mean characters"),
)
_MARKS = {"better": "▲", "worse": "▼", "no difference shown": "≈", None: ""}
_LEVEL, _EVEN = 0.05, 0.5

Cells = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Judged:
    """Two runs and a judge. ``problem`` says why there is no record; ``p_adjusted`` is Holm's, over all of a judge."""

    run: RunSpec
    against: RunSpec
    judge: str
    record: Judgement | None
    problem: str | None = None
    p_adjusted: float | None = None

    @property
    def ok(self) -> bool:
        """Whether the judge has compared them."""
        return self.record is not None and self.record.status == "ok"

    @property
    def status(self) -> str:
        """The record's status, or ``missing`` or ``unreadable``."""
        return self.record.status if self.record else "unreadable" if self.problem else "missing"

    @property
    def reason(self) -> str | None:
        """Why there is no rate."""
        if self.record is None:
            return self.problem or "not judged yet"
        if self.record.error is not None:
            return self.record.error.message
        return self.record.win_rate.reason if self.record.win_rate else None

    @property
    def verdict(self) -> str | None:
        """``better``, ``worse`` or ``no difference shown``; None where nothing was tested."""
        rate = self.record.win_rate if self.record else None
        if rate is None or rate.value is None or self.p_adjusted is None:
            return None
        if self.p_adjusted >= _LEVEL:
            return "no difference shown"
        return "better" if rate.value > _EVEN else "worse"

    def as_json(self) -> dict[str, Any]:
        """The record as it is, and what a report adds; of a comparison without one, status and reason."""
        more = {"p_adjusted": self.p_adjusted, "verdict": self.verdict}
        if self.record is not None:
            return {**self.record.model_dump(mode="json"), **more}
        runs = {"judge": self.judge, "run": self.run.run_id, "against": self.against.run_id}
        return {**runs, "status": self.status, "problem": self.reason, **more}


def adjusted_judged(judged: Sequence[Judged]) -> tuple[Judged, ...]:
    """With p-values that hold for all comparisons together."""
    known = [found.record.p for found in judged if found.record and found.record.p is not None]
    adjusted = iter(holm(known))
    return tuple(
        replace(found, p_adjusted=next(adjusted)) if found.record and found.record.p is not None else found
        for found in judged
    )


def judged_rows(
    judged: Sequence[Judged], name: Callable[[RunSpec], tuple[str, ...]], score: Callable[[float | None], str]
) -> list[tuple[str, tuple[Cells, ...]]]:
    """Title and rows of a table for each judge."""
    judges = dict.fromkeys(found.judge for found in judged)
    return [
        (
            f"Judged by {judge}",
            tuple(
                (name(found.run), name(found.against), *_cells(found, score))
                for found in judged
                if found.judge == judge
            ),
        )
        for judge in judges
    ]


def _cells(found: Judged, score: Callable[[float | None], str]) -> Cells:
    rate = found.record.win_rate if found.record else None
    verdicts = found.record.verdicts if found.record else None
    empty = len(JUDGED_HEADINGS) - 3
    if rate is None or verdicts is None:
        return ((f"{found.status}: {found.reason}",), *((("–",),) * empty))
    if rate.value is None:
        return ((f"–: {rate.reason}",), *_counts(verdicts))
    ends = "[?]" if rate.low is None else f"[{score(rate.low)}, {score(rate.high)}]"
    mark = _MARKS[found.verdict]
    return ((score(rate.value), ends, *([mark] if mark else [])), *_counts(verdicts))


def _counts(found: Verdicts) -> Cells:
    lengths = (found.run_characters, found.against_characters)
    return (
        (str(found.items - found.left_out),),
        (str(found.wins),),
        (str(found.ties),),
        (str(found.losses),),
        (f"{found.flips} of {found.asked}" if found.asked else "–",),
        (_share(found.first_chosen),),
        (" / ".join("–" if value is None else f"{value:.0f}" for value in lengths),),
    )


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"


def judge_notes(judged: Sequence[Judged]) -> list[str]:
    """How to read the table; and what was left out."""
    if not judged:
        return []
    notes = [
        (
            "Judge: win rate = (wins + ties / 2) / items. A win is an item of which the judge prefers the run's answer "
            "in both orders; flips are those of which the order decided. Judges prefer long answers: compare the mean "
            "characters (run / against). ▲, ▼, ≈: against one half, at 5 % (Holm over the table). A judge is a model, "
            "not people."
        )
    ]
    for found in judged:
        verdicts = found.record.verdicts if found.record else None
        if verdicts and verdicts.left_out:
            notes.append(
                f"Judge: {found.run.cell} against {found.against.cell}: {verdicts.left_out} of {verdicts.items} items "
                "were left out, longer than the judge reads."
            )
    return notes
