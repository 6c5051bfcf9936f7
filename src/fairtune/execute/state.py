"""What is known of a run from its folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psutil

from fairtune.errors import RecordError, RecordVersionError
from fairtune.execute.display import describe, trial_outcome
from fairtune.execute.progress import Progress, read_progress
from fairtune.records import RunFolder, RunRecord, Status, checkpoints_in, reached
from fairtune.study import RunSpec

FINAL: frozenset[Status] = frozenset({"ok", "diverged"})
"""The same seed gives the same bits: what diverged would diverge again. Such runs have nothing to go on from. What did
not fit is asked about again each time: budget and machine are no part of a run."""


@dataclass(frozen=True)
class State:
    """What is known of one run: its record, or why there is none."""

    spec: RunSpec
    folder: RunFolder
    record: RunRecord | None
    problem: str | None
    progress: Progress | None

    @property
    def status(self) -> str:
        """The record's status; or running, interrupted, unreadable, missing; waiting, for trials."""
        if self.record:
            return self.record.status
        if self.problem:
            return "unreadable"
        if self.progress is None:
            return "waiting" if self.waits else "missing"
        return "running" if psutil.pid_exists(self.progress.pid) else "interrupted"

    @property
    def waits(self) -> str | None:
        """Why it is open what the run is; None where it is not."""
        return self.spec.tuned.open if self.spec.tuned else None

    @property
    def interrupted(self) -> str:
        """Where a training ended before its time, and where it goes on; empty for any other run."""
        if self.record is not None and self.record.status in FINAL:
            return ""
        last = reached(self.folder.curve)
        if last is None and not self.checkpoints:
            return ""
        at = f"interrupted at update {last[0]} of {last[1]}" if last else "interrupted before it trained"
        if not self.checkpoints:
            return f"{at}; starts anew: there is no checkpoint"
        return f"{at}; goes on from update {self.checkpoints[0].name}"

    @property
    def checkpoints(self) -> list[Path]:
        """What the next attempt goes on from, if it is whole; the newest first."""
        return checkpoints_in(self.folder.checkpoints) if self.spec.checkpoint else []

    @property
    def detail(self) -> str:
        """How far it is, or why it has no results."""
        if self.record:
            why = self.record.error.message if self.record.error else trial_outcome(self.record)
            told = (why, self.interrupted)
            return "; ".join(part for part in told if part)
        if self.problem:
            return f"{self.problem}; `fairtune run` repeats this run"
        if self.status == "running":
            return ", ".join(part for part in describe(self.progress, 0.0) if part)
        return self.interrupted or self.waits or ""


def state_of(spec: RunSpec, runs: Path) -> State:
    """Looks at a run's folder. A damaged record is a problem of that run alone.

    Raises:
        RecordVersionError: the record is whole, and of a version this fairtune cannot read.
    """
    folder = RunFolder.of(runs, spec)
    try:
        return State(spec, folder, folder.read(), None, read_progress(folder.progress))
    except RecordVersionError:
        raise
    except RecordError as error:
        return State(spec, folder, None, str(error), None)
