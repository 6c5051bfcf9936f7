"""Plans of runs: what each needs of a device, before any weight is there."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fairtune.data import Splits
from fairtune.errors import FairtuneError
from fairtune.execute.advice import advised
from fairtune.execute.alike import alike_key
from fairtune.execute.items import own_splits, training_texts
from fairtune.execute.workload import Texts, read_texts, workload_of
from fairtune.methods import METHODS
from fairtune.models.opening import open_tokenizer
from fairtune.models.precision import COMPUTE, WEIGHTS
from fairtune.models.shape import positions
from fairtune.models.shape_of import describe_for_plan, open_config
from fairtune.models.sources import ModelShape
from fairtune.plan.bound import bound
from fairtune.plan.calibration import Calibration, calibration_of, place_of
from fairtune.plan.cost import Clock, MeasuredClock, StatedClock
from fairtune.plan.devices import Device
from fairtune.plan.measure import measure_cpu
from fairtune.plan.model import Blueprint, Ways
from fairtune.plan.predict import Amount, Machine, predict
from fairtune.plan.sharing import Sharing
from fairtune.plan.simulate import CannotSimulateError, Case, Simulated, Workload, simulate, simulate_teaching
from fairtune.plan.verdict import MARGIN, binding_of, fit_of, highest
from fairtune.records import Phase, Plan, PlannedPhase
from fairtune.study import Precision, RunSpec
from fairtune.units import format_bytes


@dataclass(frozen=True)
class Known:
    """A model as far as a plan needs it."""

    shape: ModelShape
    config: Any
    texts: Texts


class Planner:
    """Plans runs of one study, and remembers what is alike.

    Args:
        budget_bytes: what each process may take; the device's memory if absent.
        said: told in words what is fetched.
    """

    def __init__(
        self, device: Device, budget_bytes: int | None, said: Callable[[str], None] = lambda text: None
    ) -> None:
        self.device = device
        self.budget_bytes = device.memory_bytes if budget_bytes is None else budget_bytes
        self._said = said
        self._splits: dict[str, Splits] = {}
        self._models: dict[tuple[str, str], Known] = {}
        self._plans: dict[str, Plan] = {}
        self._ways: dict[str, Ways] = {}
        self._clock = _clock_of(device)

    def plan(self, spec: RunSpec) -> Plan:
        """Of one run. What cannot be planned is a plan that says why."""
        key = alike_key(spec)
        if key not in self._plans:
            try:
                self._plans[key] = self._planned(spec)
            except FairtuneError as error:
                self._plans[key] = self._verdict({}, reason=str(error))
        return self._plans[key]

    def _planned(self, spec: RunSpec) -> Plan:
        known = self._known(spec)
        with tempfile.TemporaryDirectory(prefix="fairtune-plan-") as scratch:
            workload, amount, assumed = workload_of(spec, known.texts, Path(scratch))
            case = self._case(spec, known)
            try:
                found = simulate(case, workload, known.texts.tokenizer)
            except CannotSimulateError as error:
                return self._bounded(case, error, assumed)
        machine = self._machine(spec)
        phases = predict(found, amount, machine, _stored_bytes(found, known, spec))
        if spec.teacher is not None:
            phases["teach"] = self._teaching(spec, workload, machine)
        return self._verdict(phases, assumed=(*assumed, *self._context()))

    def _context(self) -> tuple[str, ...]:
        if not self._beside:
            return ()
        return (f"CUDA's own context takes {format_bytes(self._beside)} of the budget besides",)

    @property
    def _beside(self) -> int:
        """What a process holds of the budget that is no tensor and no allocator's."""
        return (self.device.context_bytes or 0) if self.device.kind == "cuda" else 0

    def _teaching(self, spec: RunSpec, workload: Workload, machine: Machine) -> PlannedPhase:
        """What the teacher takes; one that is a run of the study has the student's shape."""
        teacher = spec.teacher.model if spec.teacher and spec.teacher.model else spec.model
        own = self._known(spec.model_copy(update={"model": teacher}))
        longest = own.texts.parts.longest
        blueprint = Blueprint(own.config, spec.precision, None, self.device.kind, longest, self._ways)
        try:
            found = simulate_teaching(blueprint, workload.train)
        except CannotSimulateError as error:
            return PlannedPhase(peak_bytes=None, seconds=None, reason=f"the teacher cannot be simulated: {error}")
        return predict(found, Amount(), machine, None)["teach"]

    def _machine(self, spec: RunSpec) -> Machine:
        # Processes of one processor exchange through its memory.
        bandwidth = self.device.interconnect or (self.device.bandwidth if self.device.kind == "cpu" else None)
        sharing = Sharing(spec.parallel.strategy, spec.ranks, bandwidth) if spec.ranks > 1 else None
        known = self._calibration(spec.precision)
        return Machine(self.device, self._clock, known.runtime, known.speed, sharing)

    def _calibration(self, precision: Precision) -> Calibration:
        return calibration_of(place_of(self.device.name, precision), self.device.title)

    def _case(self, spec: RunSpec, known: Known) -> Case:
        code = METHODS[spec.method.name].quantization(spec.method.options, spec.precision)
        longest = known.texts.parts.longest
        blueprint = Blueprint(known.config, spec.precision, code, self.device.kind, longest, self._ways)
        room = self.budget_bytes if self.device.kind != "cpu" else None
        tokens, sharded = spec.budget.batch_tokens, spec.ranks > 1 and spec.parallel.strategy == "fsdp"
        return Case(blueprint, spec.method.name, spec.method.options, spec.training, spec.ranks, sharded, tokens, room)

    def _known(self, spec: RunSpec) -> Known:
        """The configuration of the run's model, and the task as it reads it."""
        splits = self._splits.setdefault(spec.task.fingerprint, own_splits(spec))
        key = (spec.model.model_dump_json(), spec.task.fingerprint)
        if key not in self._models:
            shape = describe_for_plan(spec.model, self._said, training_texts(splits))
            config = open_config(shape, spec.model)
            here = spec.model.scratch is not None or shape.folder is not None
            tokenizer = open_tokenizer(spec.model, shape.folder, training_texts(splits)) if here else None
            text = config.get_text_config()
            self._models[key] = Known(shape, config, read_texts(splits, tokenizer, text.vocab_size, positions(config)))
        return self._models[key]

    def _bounded(self, case: Case, error: CannotSimulateError, assumed: tuple[str, ...]) -> Plan:
        blueprint = case.blueprint
        size, tokens = COMPUTE[blueprint.precision].itemsize, case.tokens or 1024
        config = blueprint.config.get_text_config()
        runtime = max(self._calibration(blueprint.precision).runtime.values(), default=0)
        phases = bound(config, error.sizes.weights, error.sizes.trainable, tokens, blueprint.longest, size, runtime)
        told = f"its code cannot be simulated ({error}): peaks are bounds from above"
        return self._verdict(phases, assumed=(*assumed, told)).model_copy(update={"simulated": False})

    def _verdict(
        self, phases: dict[Phase, PlannedPhase], assumed: tuple[str, ...] = (), reason: str | None = None
    ) -> Plan:
        found = highest(phases)
        peak = None if found is None else found[1]
        seconds = [planned.seconds for planned in phases.values() if planned.seconds is not None]
        return Plan(
            peak_bytes=peak,
            seconds=sum(seconds) if seconds else None,
            reason=reason,
            device=self.device.name,
            budget_bytes=self.budget_bytes,
            verdict=fit_of(None if peak is None else peak + self._beside, self.budget_bytes, MARGIN),
            binding=binding_of(phases),
            phases=phases,
            assumed=assumed,
        )


def plan_runs(
    specs: Sequence[RunSpec],
    device: Device,
    budget_bytes: int | None,
    thorough: bool = False,
    done: Callable[[int], None] = lambda count: None,
) -> dict[str, Plan]:
    """A plan for every run, by its id. What is alike is simulated once.

    Args:
        budget_bytes: what each process may take; the device's memory if absent.
        thorough: also look for the most tokens of a pass that fit, and for what makes fit what does not.
        done: told how many runs have a plan.
    """
    planner, plans = Planner(device, budget_bytes), dict[str, Plan]()
    for count, spec in enumerate(specs, 1):
        plans[spec.run_id] = planner.plan(spec)
        done(count)
    return advised(specs, plans, planner.plan) if thorough else plans


def _clock_of(device: Device) -> Clock | None:
    if device.kind == "cpu":
        rates = measure_cpu()
        return MeasuredClock(rates) if rates.is_steady else None
    return StatedClock(device) if device.bandwidth else None


def _stored_bytes(found: Simulated, known: Known, spec: RunSpec) -> int | None:
    """Bytes of the weights' files, where what is loaded is not what lies in them."""
    stored = known.shape.stored
    if stored is None or spec.model.scratch is not None:
        return None
    kind = getattr(torch, stored)
    code = METHODS[spec.method.name].quantization(spec.method.options, spec.precision)
    if code is None and kind == WEIGHTS[spec.precision]:
        return None
    return found.sizes.parameters * int(kind.itemsize)
