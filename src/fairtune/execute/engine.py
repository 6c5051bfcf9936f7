"""Runs what is missing of a study, one process a run, and keeps what is done."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from fairtune.errors import FairtuneError
from fairtune.execute.alike import alike_key
from fairtune.execute.display import run_name
from fairtune.execute.fit import plan_missing, stands, why_not
from fairtune.execute.judge import judge_study
from fairtune.execute.leaks import refuse_leaks
from fairtune.execute.nursery import Nursery
from fairtune.execute.origin import utc_now
from fairtune.execute.progress import Progress
from fairtune.execute.request import Request
from fairtune.execute.state import FINAL, State, state_of
from fairtune.execute.supervise import lost, supervise
from fairtune.execute.tuning import Tuning, resolve
from fairtune.models import fetch
from fairtune.plan.calibration import learn_from
from fairtune.records import Plan, RunFolder, RunRecord, study_lock, write_atomically
from fairtune.study import RunSpec, Search


class Watcher(Protocol):
    """Is told what happens while it happens."""

    def say(self, text: str) -> None:
        """Something worth a line."""

    def begin(self, specs: Sequence[RunSpec], done: dict[str, RunRecord], total: int) -> None:
        """The runs that wait for no trial, all records there are already, and how many runs there will be."""

    def join(self, spec: RunSpec, record: RunRecord | None) -> None:
        """The next run, which may be new, and its record."""

    def moved(self, spec: RunSpec, progress: Progress | None, seconds: float) -> None:
        """A run goes on."""

    def ended(self, spec: RunSpec, record: RunRecord) -> None:
        """A run has its record."""


def run_study(request: Request, runs: Path, watcher: Watcher, repeat: bool = False, force: bool = False) -> None:
    """Does every run that has no final record, and lets the study's judge compare what there is then.

    Before the first starts, all are planned, and those that would not fit are not started. Of methods that are tuned
    the trials come first, and then the runs with what was chosen.

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
        session = _Session(runs, nursery, watcher, repeat, force)
        session.do_all(session.begin(request))
        chosen = [final for search in request.searches for final in session.tune(search)]
        if chosen:
            session.do_all(session.states(chosen))
        judge_study(resolve(request, runs).request, runs, nursery, watcher.say)


class _Session:
    """One call of :func:`run_study`."""

    def __init__(self, runs: Path, nursery: Nursery, watcher: Watcher, repeat: bool, force: bool) -> None:
        self._runs, self._nursery, self._watcher = runs, nursery, watcher
        self._repeat, self._force = repeat, force
        self._plans: dict[str, Plan] = {}
        self._unavailable: dict[str, str] = {}

    def begin(self, request: Request) -> list[State]:
        """Looks at what there is, and plans what is missing and known. Gives the runs that wait for no trial."""
        states, resolved = self.states(request.settled), resolve(request, self._runs)
        later = [state_of(spec, self._runs) for spec in resolved.request.specs if spec.tuned and spec.tuned.chosen]
        every = [*states, *resolved.trials, *later]
        done = {state.spec.run_id: state.record for state in every if state.record and self._is_final(state)}
        to_come = sum(search.trials + len(search.drafts) for search in request.searches)
        self._watcher.begin([state.spec for state in states], done, len(states) + to_come)
        if request.searches:
            trials = sum(search.trials for search in request.searches)
            self._watcher.say(f"{trials} of them trials, which choose options by validation loss")
        self._plan([*states, *resolved.trials])
        return states

    def states(self, specs: Sequence[RunSpec]) -> list[State]:
        """Of each run once. Says which records cannot be read."""
        states = [state_of(spec, self._runs) for spec in {spec.run_id: spec for spec in specs}.values()]
        for state in states:
            if state.problem:
                self._watcher.say(f"{state.problem}; the run will be repeated, the file kept in attempts/")
            _clear_checkpoints(state)
        return states

    def do_all(self, states: Sequence[State]) -> None:
        """Does those that have no final record."""
        missing = [state for state in states if not self._is_final(state)]
        self._plan([state for state in missing if not state.waits])
        for state in states:
            self._watcher.join(state.spec, state.record)
        for state in missing:
            record = self._without_choice(state, state.waits) if state.waits else self._run(state)
            if record is not None:
                self._watcher.ended(state.spec, record)

    def tune(self, search: Search) -> tuple[RunSpec, ...]:
        """Does the trials that are missing, one after the other, and gives the runs that follow."""
        tuning = Tuning(search)
        while (spec := tuning.next()) is not None:
            (state,) = self.states([spec])
            self.do_all([state])
            tuning.add(state_of(spec, self._runs))
        return tuning.finals

    def _is_final(self, state: State) -> bool:
        if state.record is None:
            return False
        return state.record.status == "ok" if self._repeat else state.record.status in FINAL

    def _plan(self, states: Sequence[State]) -> None:
        """What is alike is planned once."""
        missing = [state for state in states if not self._is_final(state) and self._plan_of(state.spec) is None]
        if not missing:
            return
        self._nursery.warm()
        asked = [(state.spec, state.record) for state in missing]
        found = plan_missing(asked, self._nursery, self._watcher.say, self._repeat or self._force)
        for state in missing:
            self._plans[state.spec.run_id] = found[state.spec.run_id]
            self._plans.setdefault(alike_key(state.spec), found[state.spec.run_id])

    def _plan_of(self, spec: RunSpec) -> Plan | None:
        return self._plans.get(spec.run_id) or self._plans.get(alike_key(spec))

    def _without_choice(self, state: State, why: str) -> RunRecord | None:
        """The record of a run that no trial has chosen; None while trials are missing."""
        spec, folder, before = state.spec, state.folder, state.record
        if spec.tuned is None or spec.tuned.trials < spec.tuned.due:
            return None
        if before is not None and before.error is not None and before.error.message == why:
            return before
        _put_away(state)
        write_atomically(folder.spec, spec.model_dump_json(indent=1) + "\n")
        return lost(spec, folder, "failed", "trials", why, utc_now())

    def _run(self, state: State) -> RunRecord:
        spec, folder, watcher, force = state.spec, state.folder, self._watcher, self._force
        plan = self._plan_of(spec) or Plan()
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
        problem = _weights_problem(spec, watcher, self._unavailable) or _teacher_problem(spec, folder)
        if problem:
            return lost(spec, folder, "failed", "ModelError", problem, utc_now())
        record = supervise(
            self._nursery, spec, folder, lambda progress, seconds: watcher.moved(spec, progress, seconds)
        )
        for remark in record.resumed[-1].remarks if record.resumed else ():
            watcher.say(f"{run_name(spec)}: {remark}")
        _clear_checkpoints(State(spec, folder, record, None, None))
        learned = learn_from(record)
        for told in learned.left_out if learned else ():
            watcher.say(f"{run_name(spec)}: {told}")
        return record


def _clear_checkpoints(state: State) -> None:
    """Removes what nobody will go on from: the run is done, or the study wants no checkpoints."""
    if state.spec.checkpoint is None or (state.record is not None and state.record.status in FINAL):
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
