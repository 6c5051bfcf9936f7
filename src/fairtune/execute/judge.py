"""A judge's part of a study: what it can compare, what of that is there, and its process. No torch here."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fairtune.data import Example
from fairtune.errors import FairtuneError, RecordError, RecordVersionError
from fairtune.evaluate.metrics import metrics_of
from fairtune.execute.display import describe, run_name
from fairtune.execute.nursery import Nursery, begin_judge
from fairtune.execute.progress import Progress
from fairtune.execute.request import Request
from fairtune.execute.supervise import end, ending, oom_kills, watch_until_end
from fairtune.models import fetch
from fairtune.records import (
    ErrorInfo,
    Judgement,
    JudgementFolder,
    RunFolder,
    Status,
    read_lines,
    write_atomically,
)
from fairtune.study import JudgeChoice, JudgedItem, JudgeSpec, PairSpec, RunSpec, judgement_id

_TOLD_EVERY_SECONDS = 15.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class JudgeState:
    """Two finished runs of a study: what a judge found of them, or why it found nothing."""

    run: RunSpec
    against: RunSpec
    judge: JudgeChoice
    pair: PairSpec | None
    record: Judgement | None = None
    problem: str | None = None

    @property
    def status(self) -> str:
        """The record's status; or unreadable, missing."""
        return self.record.status if self.record else "unreadable" if self.problem else "missing"

    @property
    def detail(self) -> str:
        """Why there is no result."""
        return self.record.error.message if self.record and self.record.error else self.problem or ""

    @property
    def name(self) -> str:
        """What is compared, and by whom."""
        return f"{run_name(self.run)} against {run_name(self.against)}, judged by {self.judge.model.name}"


def judge_states(request: Request, runs: Path) -> list[JudgeState]:
    """Every comparison of the study whose two runs are done.

    Raises:
        RecordVersionError: a record of a version that this fairtune cannot read.
    """
    if request.judge is None:
        return []
    examples = {example.id: example for example in request.splits.test}
    return [
        _state(request.judge, run, against, runs, examples)
        for run, against in request.pairs
        if _done(run, runs) and _done(against, runs)
    ]


def _done(spec: RunSpec, runs: Path) -> bool:
    try:
        record = RunFolder.of(runs, spec).read()
    except RecordVersionError:
        raise
    except RecordError:
        return False  # the run's own state tells it
    return record is not None and record.status == "ok"


def _state(
    judge: JudgeChoice, run: RunSpec, against: RunSpec, runs: Path, examples: Mapping[str, Example]
) -> JudgeState:
    try:
        items = _items(judge, run, against, runs, examples)
    except RecordError as error:
        return JudgeState(run, against, judge, None, problem=str(error))
    pair = PairSpec(id=judgement_id(judge, run, against, items), run=run, against=against, items=items)
    try:
        return JudgeState(run, against, judge, pair, JudgementFolder.of(runs, run.study).read(pair.id))
    except RecordVersionError:
        raise
    except RecordError as error:
        return JudgeState(run, against, judge, pair, problem=str(error))


def _items(
    judge: JudgeChoice, run: RunSpec, against: RunSpec, runs: Path, examples: Mapping[str, Example]
) -> tuple[JudgedItem, ...]:
    """Questions and both answers. Of a limited number, the items whose ids, hashes of their content, come first."""
    ours, theirs = _answers(run, runs), _answers(against, runs)
    if ours.keys() != theirs.keys() or not ours.keys() <= examples.keys():
        raise RecordError(f"runs {run.run_id} and {against.run_id} have not answered the same items of this task")
    chosen = set(sorted(ours)[: judge.limit])
    return tuple(
        JudgedItem(
            id=item,
            question=question_of(examples[item]),
            reference=examples[item].answer,
            run=ours[item],
            against=theirs[item],
        )
        for item in ours
        if item in chosen
    )


def _answers(spec: RunSpec, runs: Path) -> dict[str, str]:
    """What a run wrote, by item, as the first of its metrics that needs answers has stored it."""
    name = next(name for name, metric in metrics_of(spec).items() if metric.needs == "generation")
    path = RunFolder.of(runs, spec).examples(name)
    try:
        return {line["id"]: str(line["output"]) for line in read_lines(path)}
    except (KeyError, TypeError) as error:
        raise RecordError(f"{path}: damaged, an item lacks {error}") from None


def question_of(example: Example) -> str:
    """What the model was asked, as one text; of several turns, each with its role."""
    turns = [message for message in example.prompt if message.role != "system"]
    if len(turns) == 1:
        return "\n\n".join(message.content for message in example.prompt)
    return "\n\n".join(f"{message.role.capitalize()}: {message.content}" for message in example.prompt)


def judge_study(request: Request, runs: Path, nursery: Nursery, say: Say) -> None:
    """Compares what has not been compared. The study's lock is held by the caller.

    Raises:
        KeyboardInterrupt: Ctrl-C; what the judge has said is kept.
    """
    states = judge_states(request, runs)
    for state in states:
        if state.problem:
            say(f"{state.name}: {state.problem}")
    missing = [state.pair for state in states if state.pair and state.status != "ok"]
    if request.judge is None or not missing:
        return
    there = JudgementFolder.of(runs, request.loaded.study.name)
    for pair in missing:
        there.put_away(pair.id)
    say(f"judge {request.judge.model.name}: comparisons: {len(missing)}")
    spec = _spec(request, request.judge, missing)
    try:
        fetch(request.judge.model, say)
        _judge(spec, there, nursery, say)
    except FairtuneError as error:
        _leave(spec, there, "failed", type(error).__name__, str(error))
    for state in judge_states(request, runs):
        if state.record and state.record.error:
            say(f"{state.name}: {state.status}: {state.detail}")


def _spec(request: Request, judge: JudgeChoice, pairs: Sequence[PairSpec]) -> JudgeSpec:
    """The study's budget holds: of time, for each comparison, or what is the same for all of them together."""
    study = request.loaded.study
    time_limit = None if study.budget.time is None else study.budget.time * len(pairs)
    budget = study.budget.model_copy(update={"time": time_limit})
    return JudgeSpec(study=study.name, judge=judge, pairs=tuple(pairs), budget=budget)


def _judge(spec: JudgeSpec, there: JudgementFolder, nursery: Nursery, say: Say) -> None:
    folder, kills = there.process, oom_kills()
    nursery.warm()
    write_atomically(folder.spec, spec.model_dump_json() + "\n")
    process = nursery.start(folder.path, begin_judge)
    try:
        stopped = watch_until_end(process, spec.budget, folder, _Teller(spec.judge.model.name, say))
    except KeyboardInterrupt:
        end(process)
        _leave(spec, there, "interrupted", "stopped", "stopped from the keyboard; the next `fairtune run` goes on")
        raise
    if stopped is None:
        _leave(spec, there, *ending(process.exitcode or 0, kills, "the judge's process", folder))
    else:
        _leave(spec, there, stopped.status, "stopped", stopped.message)
    folder.progress.unlink(missing_ok=True)


def _leave(spec: JudgeSpec, there: JudgementFolder, status: Status, kind: str, message: str) -> None:
    """A record for each pair to which the judge's process has left none."""
    for pair in spec.pairs:
        if not there.record(pair.id).exists():
            there.write(
                Judgement(
                    id=pair.id,
                    study=spec.study,
                    status=status,
                    error=ErrorInfo(phase=None, kind=kind, message=message),
                    judge=spec.judge,
                    run=pair.run.run_id,
                    against=pair.against.run_id,
                )
            )


class _Teller:
    """Says every now and then how far the judge is."""

    def __init__(self, name: str, say: Say) -> None:
        self._name, self._say = name, say
        self._told = time.monotonic()

    def __call__(self, progress: Progress | None, seconds: float) -> None:
        if time.monotonic() - self._told >= _TOLD_EVERY_SECONDS:
            self._told = time.monotonic()
            self._say(f"judge {self._name}: {', '.join(part for part in describe(progress, seconds) if part)}")
