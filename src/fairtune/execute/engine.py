"""Runs what is missing of a study, one process a run, and keeps what is done."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil

from fairtune.errors import FairtuneError, RecordError, RecordVersionError
from fairtune.execute.display import describe, run_name
from fairtune.execute.fit import plan_missing, stands, why_not
from fairtune.execute.judge import judge_study
from fairtune.execute.leaks import refuse_leaks
from fairtune.execute.nursery import Nursery
from fairtune.execute.origin import utc_now
from fairtune.execute.progress import Progress, read_progress
from fairtune.execute.request import Request
from fairtune.execute.supervise import lost, supervise
from fairtune.models import fetch
from fairtune.plan.calibration import learn_from
from fairtune.records import (
    Plan,
    RunFolder,
    RunRecord,
    Status,
    checkpoints_in,
    reached,
    study_lock,
    write_atomically,
)
from fairtune.study import RunSpec

# The same seed gives the same bits: what diverged would diverge again. Such runs have nothing to go on from. What did
# not fit is asked about again each time: budget and machine are no part of a run.
_FINAL: frozenset[Status] = frozenset({"ok", "diverged"})


class Watcher(Protocol):
    """Is told what happens while it happens."""

    def say(self, text: str) -> None:
        """Something worth a line."""

    def begin(self, specs: Sequence[RunSpec], done: dict[str, RunRecord]) -> None:
        """The runs of the study, and the records there are already."""

    def moved(self, spec: RunSpec, progress: Progress | None, seconds: float) -> None:
        """A run goes on."""

    def ended(self, spec: RunSpec, record: RunRecord) -> None:
        """A run has its record."""


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
        """The record's status; or running, interrupted, unreadable, missing."""
        if self.record:
            return self.record.status
        if self.problem:
            return "unreadable"
        if self.progress is None:
            return "missing"
        return "running" if psutil.pid_exists(self.progress.pid) else "interrupted"

    @property
    def interrupted(self) -> str:
        """Where a training ended before its time, and where it goes on; empty for any other run."""
        if self.record is not None and self.record.status in _FINAL:
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
            told = (self.record.error.message if self.record.error else "", self.interrupted)
            return "; ".join(part for part in told if part)
        if self.problem:
            return f"{self.problem}; `fairtune run` repeats this run"
        if self.status == "running":
            return ", ".join(part for part in describe(self.progress, 0.0) if part)
        return self.interrupted


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


def run_study(request: Request, runs: Path, watcher: Watcher, repeat: bool = False, force: bool = False) -> None:
    """Does every run that has no final record, and lets the study's judge compare what there is then.

    Before the first starts, all are planned, and those that would not fit are not started.

    Args:
        repeat: also repeat, from the start, runs that ended in a way that would happen again.
        force: start runs that would not fit, too.

    Raises:
        DataError: test items are trained on, and the study does not allow it.
        RecordError: another process runs the study now.
        KeyboardInterrupt: Ctrl-C; what is finished is kept.
    """
    refuse_leaks(request.loaded.task, request.leaks, request.loaded.study.allow_leakage)
    nursery = Nursery()
    with study_lock(runs / request.loaded.study.name):
        states = [state_of(spec, runs) for spec in request.specs]
        for state in states:
            if state.problem:
                watcher.say(f"{state.problem}; the run will be repeated, the file kept in attempts/")
            _clear_checkpoints(state)
        missing = [state for state in states if not _is_final(state, repeat)]
        done = {state.spec.run_id: state.record for state in states if state.record and state not in missing}
        watcher.begin(request.specs, done)
        plans: dict[str, Plan] = {}
        if missing:
            nursery.warm()
            plans = plan_missing(
                [(state.spec, state.record) for state in missing], nursery, watcher.say, repeat or force
            )
        unavailable: dict[str, str] = {}
        for state in missing:
            plan = plans[state.spec.run_id]
            watcher.ended(state.spec, _run(state, plan, force, nursery, watcher, unavailable))
        judge_study(request, runs, nursery, watcher.say)


def _is_final(state: State, repeat: bool) -> bool:
    if state.record is None:
        return False
    return state.record.status == "ok" if repeat else state.record.status in _FINAL


def _run(
    state: State, plan: Plan, force: bool, nursery: Nursery, watcher: Watcher, unavailable: dict[str, str]
) -> RunRecord:
    spec, folder = state.spec, state.folder
    if state.record is not None and stands(state.record, plan) and not force:
        return state.record
    goes_on = state.interrupted if state.checkpoints else ""
    _put_away(state)
    write_atomically(folder.spec, spec.model_dump_json(indent=1) + "\n")
    write_atomically(folder.plan, plan.model_dump_json(indent=1) + "\n")
    if plan.verdict == "does_not_fit" and not force:
        return lost(spec, folder, "does_not_fit", "BudgetError", why_not(plan), utc_now())
    if goes_on:
        watcher.say(f"{run_name(spec)}: {goes_on}")
    problem = _weights_problem(spec, watcher, unavailable) or _teacher_problem(spec, folder)
    if problem:
        return lost(spec, folder, "failed", "ModelError", problem, utc_now())
    record = supervise(nursery, spec, folder, lambda progress, seconds: watcher.moved(spec, progress, seconds))
    for remark in record.resumed[-1].remarks if record.resumed else ():
        watcher.say(f"{run_name(spec)}: {remark}")
    _clear_checkpoints(State(spec, folder, record, None, None))
    learned = learn_from(record)
    for told in learned.left_out if learned else ():
        watcher.say(f"{run_name(spec)}: {told}")
    return record


def _clear_checkpoints(state: State) -> None:
    """Removes what nobody will go on from: the run is done, or the study wants no checkpoints."""
    if state.spec.checkpoint is None or (state.record is not None and state.record.status in _FINAL):
        shutil.rmtree(state.folder.checkpoints, ignore_errors=True)


def _put_away(state: State) -> None:
    """Moves an earlier attempt aside. One whose whole command was killed left no record: it gets one first."""
    folder = state.folder
    if folder.path.exists() and folder.spec.exists() and not folder.record.exists() and folder.log.exists():
        told = "the command that ran this was killed before it could write a record"
        lost(state.spec, folder, "interrupted", "killed", told, utc_now())
    folder.archive()


def _weights_problem(spec: RunSpec, watcher: Watcher, unavailable: dict[str, str]) -> str | None:
    """Fetches the weights of a model, its teacher and translators before their first run; says why they are not had."""
    translators = spec.augment.models.values() if spec.augment else ()
    for model in (spec.model, spec.teacher.model if spec.teacher else None, *translators):
        if model is None:
            continue
        if model.fingerprint not in unavailable:
            try:
                fetch(model, watcher.say)
                unavailable[model.fingerprint] = ""
            except FairtuneError as error:
                unavailable[model.fingerprint] = str(error)
        if unavailable[model.fingerprint]:
            return unavailable[model.fingerprint]
    return None


def _teacher_problem(spec: RunSpec, folder: RunFolder) -> str | None:
    """Why a run of the study cannot teach this one."""
    if spec.teacher is None or spec.teacher.run_id is None:
        return None
    record = RunFolder(folder.path.parent / spec.teacher.run_id).read()
    if record is not None and record.status == "ok":
        return None
    how = "has no record" if record is None else f"ended as '{record.status}'"
    return (
        f"its teacher {spec.teacher.name} (run {spec.teacher.run_id}) {how}; the next `fairtune run` tries both again"
    )
