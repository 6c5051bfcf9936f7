"""What a judge found of two runs: ``judgements/ID.json``, version 1, and the files beside it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from fairtune.errors import BudgetError, RecordError
from fairtune.records.schema import ErrorInfo, MetricValue, Part, Phase, PhaseCost, Provenance, Status
from fairtune.records.store import RunFolder, read_lines, read_versioned, write_atomically
from fairtune.study import JudgeChoice

_VERSION: Literal[1] = 1


class Verdicts(Part):
    """What became of the items. A win: in both orders the judge prefers the run's answer; a loss: the other's."""

    items: int = Field(description="that were to be judged")
    wins: int
    ties: int = Field(description="equal answers, and items whose two orders do not agree on one")
    losses: int
    equal: int = Field(description="of the ties, answers that are the same text: the judge was not asked")
    left_out: int = Field(description="items that are longer than the judge reads; no part of the rate")
    flips: int = Field(description="items of which the judge preferred one answer in one order, the other in the other")
    asked: int = Field(description="items that the judge read, in both orders")
    first_chosen: float | None = Field(description="share of the 2 × asked verdicts for the answer shown first")
    preference: float | None = Field(
        description="mean probability, over both orders, that the judge gives to the run's answer; 0.5 for equal ones"
    )
    run_characters: float | None = Field(description="mean length of the run's answers that were judged")
    against_characters: float | None = Field(description="mean length of the other's")


class Judgement(BaseModel):
    """Two runs, compared by a judge."""

    model_config = ConfigDict(frozen=True, extra="allow")

    version: Literal[1] = _VERSION
    id: str
    study: str
    status: Status
    error: ErrorInfo | None = None
    judge: JudgeChoice
    run: str = Field(description="id of the run")
    against: str = Field(description="id of the run that it is compared with")
    win_rate: MetricValue | None = Field(default=None, description="(wins + ties / 2) / items judged")
    p: float | None = Field(default=None, description="of a rate of one half, two-sided, by randomisation")
    verdicts: Verdicts | None = None
    phases: dict[Phase, PhaseCost] = Field(default={}, description="load: for all that one process judged")
    provenance: Provenance | None = None


@dataclass(frozen=True)
class JudgementFolder:
    """``RUNS/STUDY/judgements``; the names of its files are a contract."""

    path: Path

    @classmethod
    def of(cls, runs: Path, study: str) -> JudgementFolder:
        """That of a study."""
        return cls(runs / study / "judgements")

    @property
    def process(self) -> RunFolder:
        """What the judge's process is asked (spec.json), its log, and its progress while there is one."""
        return RunFolder(self.path / "process")

    def record(self, judgement: str) -> Path:
        """The Judgement."""
        return self.path / f"{judgement}.json"

    def lines(self, judgement: str) -> Path:
        """One line an item: both answers, the probability of the first in both orders, votes, outcome."""
        return self.path / f"{judgement}.jsonl"

    def partial(self, judgement: str) -> Path:
        """What the judge has said so far; only there until the judgement is whole."""
        return self.path / f"{judgement}.partial"

    def read(self, judgement: str) -> Judgement | None:
        """The record, or None where there is none.

        Raises:
            RecordError: damaged, or of another version.
        """
        path = self.record(judgement)
        return read_versioned(path, Judgement, _VERSION) if path.exists() else None

    def write(self, judgement: Judgement) -> None:
        """Writes a record once.

        Raises:
            RecordError: there is one already.
            BudgetError: the disk is full.
        """
        path = self.record(judgement.id)
        if path.exists():
            raise RecordError(f"{path}: exists already; records are never overwritten")
        write_atomically(path, judgement.model_dump_json(indent=1) + "\n")

    def put_away(self, judgement: str) -> None:
        """Moves the record of an earlier attempt into ``attempts``. What the judge has said stays."""
        path = self.record(judgement)
        if not path.exists():
            return
        attempts = self.path / "attempts"
        attempts.mkdir(exist_ok=True)
        number = 1 + len(list(attempts.glob(f"{judgement}.*.json")))
        path.rename(attempts / f"{judgement}.{number}.json")

    def append(self, judgement: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Adds what the judge has said.

        Raises:
            BudgetError: the disk is full.
        """
        path = self.partial(judgement)
        try:
            with path.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(row) + "\n" for row in rows)
        except OSError as error:
            raise BudgetError(f"{path}: cannot be written: {error.strerror}. Free some space") from error

    def said(self) -> dict[str, float | None]:
        """By key of a question, the probability of its first answer; None for one that is longer than the judge reads.

        Raises:
            RecordError: a file of whole judgements is damaged.
        """
        known: dict[str, float | None] = {}
        for path in sorted(self.path.glob("*.jsonl")):
            for line in read_lines(path):
                known.update(_answers(path, line))
        for path in sorted(self.path.glob("*.partial")):
            for text in path.read_text(encoding="utf-8", errors="replace").split("\n"):
                known.update(_said(text))
        return known


def _answers(path: Path, line: Mapping[str, Any]) -> dict[str, float | None]:
    try:
        return dict(zip(line["keys"], line["first"], strict=True))
    except (KeyError, TypeError, ValueError) as error:
        raise RecordError(f"{path}: damaged, an item lacks {error}; move the file away") from None


def _said(text: str) -> dict[str, float | None]:
    """One line of a partial file; nothing where a process was killed in the middle of it."""
    try:
        line = json.loads(text)
        return {line["key"]: line["first"]}
    except (ValueError, KeyError, TypeError):
        return {}
