"""What runs need of a device, found out in a process of its own. No torch here.

The process runs other people's model code. Whatever becomes of it there is told here, and nothing more.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

from pydantic import Field

from fairtune import errors
from fairtune.cache import cache_folder
from fairtune.execute.nursery import Nursery, begin_plan
from fairtune.execute.supervise import end, ending, oom_kills, watch_until_end
from fairtune.plan.devices import KINDS, find_device
from fairtune.records import Plan, RunFolder, write_atomically
from fairtune.study import Budget, RunSpec
from fairtune.study.fields import Strict

Tell = Callable[[int], None]
"""Told how many runs have a plan."""


class PlanRequest(Strict):
    """What the process is given.

    Attributes:
        device: name of a profile, or what is really there: auto, cpu, cuda, cuda:1, mps.
        memory_bytes: what each process of a run may take; the device's own memory if absent.
        thorough: also look for the most tokens of a pass that fit, and for what makes fit what does not.
        known: plans made before, by run. Where device and budget are the same, they hold.
    """

    specs: tuple[RunSpec, ...]
    device: str
    memory_bytes: int | None
    thorough: bool
    known: dict[str, Plan] = Field(default={})


class Place(Strict):
    """The device that is planned for, and what a process may take of it."""

    device: str
    title: str
    budget_bytes: int | None
    memory_source: str


class PlanAnswer(Strict):
    """What the process gives back.

    Attributes:
        place: None where even the device was not found.
        refused: name of the error if the request was wrong; ``told`` is its message.
        told: what went wrong, if anything did.
    """

    place: Place | None = None
    plans: dict[str, Plan] = Field(default={})
    refused: str | None = None
    told: str | None = None

    @classmethod
    def file_in(cls, folder: RunFolder) -> Path:
        """Where the process leaves it."""
        return folder.path / "plans.json"


@dataclass(frozen=True)
class Plans:
    """A plan for every run that was asked about, by its id; ``failure`` says why they have no numbers."""

    place: Place | None
    plans: Mapping[str, Plan]
    seconds: float
    failure: str | None = None


def require_device(text: str) -> None:
    """Looks a device's name up where that takes no torch.

    Raises:
        SpecError: no device has that name; the message has the nearest.
    """
    if text.partition(":")[0].strip().lower() not in ("auto", *KINDS):
        find_device(text)


def make_plans(asked: PlanRequest, nursery: Nursery, tell: Tell = lambda count: None) -> Plans:
    """Starts the process, waits for it, and reads what it found. If it breaks, every plan says so.

    Raises:
        FairtuneError: the request is wrong: no such device here, for example.
        KeyboardInterrupt: Ctrl-C; the process has been ended.
    """
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fairtune-plan-", ignore_cleanup_errors=True) as name:
        folder = RunFolder(Path(name))
        write_atomically(folder.spec, asked.model_dump_json() + "\n")
        kills = oom_kills()
        process = nursery.start(folder.path, begin_plan)
        try:
            watch_until_end(process, Budget(), folder, lambda now, _: tell(now.step if now else 0))
        except KeyboardInterrupt:
            end(process)
            raise
        answer = _answer(folder, process, kills)
        log = _kept(folder.log) if answer.told and not answer.refused else None
    if answer.refused:
        raise getattr(errors, answer.refused)(answer.told)
    failure = f"{answer.told} (log: {log})" if log else answer.told
    missing = unplanned(asked.specs, f"planning failed: {failure}", answer.place) if failure else {}
    return Plans(answer.place, {**missing, **asked.known, **answer.plans}, time.monotonic() - began, failure)


def unplanned(specs: Iterable[RunSpec], reason: str, place: Place | None = None) -> dict[str, Plan]:
    """Plans without numbers, and why."""
    where = {"device": place.device, "budget_bytes": place.budget_bytes} if place else {}
    return {spec.run_id: Plan.model_validate({"reason": reason, **where}) for spec in specs}


def _answer(folder: RunFolder, process: BaseProcess, kills: int) -> PlanAnswer:
    file = PlanAnswer.file_in(folder)
    if file.exists():
        return PlanAnswer.model_validate_json(file.read_text(encoding="utf-8"))
    who, code = "the planning process", process.exitcode or 0
    return PlanAnswer(told=ending(code, kills, who, folder)[2] if code < 0 else f"{who} ended with code {code}")


def _kept(log: Path) -> Path | None:
    """What the process printed, in the user's cache: its own folder goes."""
    kept = cache_folder() / "planning.log"
    with contextlib.suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(log, kept)
        return kept
    return None
