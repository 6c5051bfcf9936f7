"""Inside the planning process: the device is found, and every run is simulated on it."""

from __future__ import annotations

import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

from fairtune.errors import FairtuneError
from fairtune.execute.limits import beyond_limits
from fairtune.execute.planning import plan_runs
from fairtune.execute.plans import Place, PlanAnswer, PlanRequest, unplanned
from fairtune.execute.progress import ProgressFile
from fairtune.execute.worker import settle_in
from fairtune.plan.devices import Device, find_device
from fairtune.records import Plan, RunFolder, write_atomically
from fairtune.study import RunSpec


def work(folder_path: str, command: tuple[str, ...]) -> None:
    """Reads ``spec.json``, a :class:`PlanRequest`, and writes a :class:`PlanAnswer`, whatever happens."""
    folder = RunFolder(Path(folder_path))
    settle_in(folder)
    tempfile.tempdir = str(folder.path)  # what an ended process leaves there goes with the folder
    asked = PlanRequest.model_validate_json(folder.spec.read_text(encoding="utf-8"))
    answer = _answered(asked, ProgressFile(folder.progress, every=0))
    write_atomically(PlanAnswer.file_in(folder), answer.model_dump_json() + "\n")


def _answered(asked: PlanRequest, progress: ProgressFile) -> PlanAnswer:
    answer = PlanAnswer()
    try:
        device = find_device(asked.device)
        place = _place(device, asked.memory_bytes)
        answer = PlanAnswer(place=place)
        return PlanAnswer(place=place, plans=_plans(asked, device, place, progress))
    except FairtuneError as error:
        return answer.model_copy(update={"refused": type(error).__name__, "told": str(error)})
    except Exception as error:  # noqa: BLE001 - other people's code raises what it likes; the traceback is in the log
        traceback.print_exc()
        return answer.model_copy(update={"told": ": ".join(filter(None, (type(error).__name__, str(error))))})


def _place(device: Device, memory_bytes: int | None) -> Place:
    return Place(
        device=device.name,
        title=device.title,
        budget_bytes=device.memory_bytes if memory_bytes is None else memory_bytes,
        memory_source=device.sources["memory_bytes"],
    )


def _plans(asked: PlanRequest, device: Device, place: Place, progress: ProgressFile) -> dict[str, Plan]:
    """What holds from before, what cannot run on such a device, and the rest as simulated."""
    here = (device.name, place.budget_bytes)
    plans = {run: plan for run, plan in asked.known.items() if (plan.device, plan.budget_bytes) == here}
    possible: list[RunSpec] = []
    for spec in _moved(asked.specs, device):
        problems = beyond_limits([spec]) if spec.run_id not in plans else []
        if problems:
            plans |= unplanned([spec], "; ".join(map(str, problems)), place)
        elif spec.run_id not in plans:
            possible.append(spec)
    known = len(plans)
    if possible:
        told = lambda count: progress.advance(known + count)  # noqa: E731
        plans |= plan_runs(possible, device, place.budget_bytes, asked.thorough, told)
    return plans


def _moved(specs: Sequence[RunSpec], device: Device) -> list[RunSpec]:
    """The runs as a study on that device would have them: their ids are the same."""
    return [
        spec.model_copy(update={"budget": spec.budget.model_copy(update={"device": device.kind})}) for spec in specs
    ]
