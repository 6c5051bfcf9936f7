"""``fairtune plan``: what fits, before a weight is fetched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from fairtune.cli.moving import MovingLine
from fairtune.cli.options import out
from fairtune.errors import SpecError
from fairtune.study import Precision
from fairtune.units import parse_bytes


def plan(
    study: Annotated[Path, typer.Argument(metavar="STUDY", help="The study's YAML file.")],
    device: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="One of `fairtune devices`, or auto, cpu, cuda, mps. The study's if absent."),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE", help="What each process may take: 20GiB. The study's, or the device's, if absent."
        ),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Do not look for what makes fit what does not.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> int:
    """Predict memory and time of every run, without its weights: what fits. 1 if something does not."""
    from fairtune.execute.nursery import Nursery
    from fairtune.execute.plans import PlanRequest, make_plans, require_device
    from fairtune.report.plan_table import plan_document, print_plans

    if device is not None:
        require_device(device)
    asked_bytes = None if memory is None else _bytes(memory)
    nursery, errors = Nursery(), Console(stderr=True)
    nursery.warm()  # while the study is read
    request = _request(study, device)
    budget, specs = request.loaded.study.budget, request.shapes
    asked = PlanRequest(
        specs=tuple(specs),
        device=device or budget.device,
        memory_bytes=asked_bytes or budget.memory,
        thorough=not quick,
    )
    with Counted(errors, len(specs), asked.thorough) as counted:
        try:
            found = make_plans(asked, nursery, counted.tell)
        except KeyboardInterrupt:
            counted.say("stopped; nothing was planned")
            return 1
    report = _report(request, found, device, memory)
    if as_json:
        typer.echo(json.dumps(plan_document(report), ensure_ascii=False, indent=1))
    else:
        print_plans(report, out())
    return 0 if report.ok else 1


def _request(study: Path, device: str | None) -> Any:
    from fairtune.execute import read_request
    from fairtune.plan.devices import DEVICES

    planned = DEVICES.get(device or "")
    automatic: Precision | None = None if planned is None else "bf16" if planned.flops["bf16"] else "fp32"
    return read_request(study, weights=False, automatic=automatic)


def _bytes(memory: str) -> int:
    try:
        return parse_bytes(memory)
    except ValueError as error:
        raise SpecError(f"--memory {memory}: {error}") from None


def _report(request: Any, found: Any, device: str | None, memory: str | None) -> Any:
    """The plans with where device and budget come from."""
    from fairtune.execute.request import shapes_of
    from fairtune.report.plan_table import PlanReport

    study, place = request.loaded.study, found.place
    own = f"the device's own ({place.memory_source})" if place else "the device's own"
    return PlanReport(
        study=study.name,
        device=place.device if place else device or study.budget.device,
        title=place.title if place else None,
        device_from="by --device" if device else f"by the study (budget.device: {study.budget.device})",
        budget_bytes=place.budget_bytes if place else None,
        budget_from="by --memory" if memory else "by the study (budget.memory)" if study.budget.memory else own,
        runs=tuple((spec, found.plans[spec.run_id]) for spec in request.shapes),
        problem=found.failure,
        tuned=tuple((search, tuple(spec.run_id for spec in shapes_of(search))) for search in request.searches),
    )


class Counted(MovingLine):
    """How far planning is."""

    def __init__(self, console: Console, total: int, thorough: bool) -> None:
        super().__init__(console)
        self._total, self._then = total, "; looking for what fits" if thorough else ""

    def tell(self, count: int) -> None:
        """So many runs have a plan."""
        self.show(f"planned {count} of {self._total} runs{self._then if count == self._total else ''}")
