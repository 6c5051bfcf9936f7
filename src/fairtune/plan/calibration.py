"""What no simulation knows, learned from runs: what the runtime itself takes, and how much slower a device is.

On a CPU a phase's peak is the resident memory of the run's process. Beyond tensors and their allocator there lie the
interpreter, torch and its relatives, the rows and tokens of the task, and kernels made on the spot: much the same
whatever is trained. So a run that ended well leaves, for each phase, what was measured beyond the simulated bytes, and
its seconds over those predicted. The last of them stay in the user's cache, by device; from three on their median
counts, however odd one of them was. Until then what ships does. No torch here.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict

from fairtune.cache import cache_folder, cache_lock, recall, remember
from fairtune.errors import BudgetError
from fairtune.plan.allocators.cuda import CUBLAS_WORKSPACE
from fairtune.plan.devices import DEVICES
from fairtune.records import Phase, PhaseCost, Plan, PlannedPhase, RunRecord
from fairtune.study import Precision
from fairtune.units import format_bytes

RUNTIME = "runtime"
"""The term of a plan that stands for what is calibrated."""

_KIND, _KEY = "calibration", "machines"
_KEPT, _ENOUGH = 32, 3
_MIB = 2**20
# A phase of less is mostly what happens once: files are opened, kernels made.
_SHORTEST_SECONDS = 1.0
# So many times as long as predicted, or so many times as short, tells of something else than the device.
_ABSURD_TIMES = 10.0

# Median of what was measured beyond simulated bytes: benchmarks/plan.py, 2026-11-27, Linux x86-64, Python 3.11, torch
# 2.13 for CPUs, transformers 5.23, two cores (docs/log.md). A process that has trained keeps what kernels took.
_ON_CPU: Mapping[Phase, int] = {
    "load": 444 * _MIB,
    "teach": 480 * _MIB,
    "train": 500 * _MIB,
    "evaluate": 480 * _MIB,
    "generate": 470 * _MIB,
}
# Products in 16 bits are oneDNN's, which keeps kernels and what it needs to make them.
_ON_CPU_IN_16_BITS: Mapping[Phase, int] = {
    "load": 412 * _MIB,
    "teach": 540 * _MIB,
    "train": 510 * _MIB,
    "evaluate": 545 * _MIB,
    "generate": 530 * _MIB,
}
# What training and scoring took on a quiet machine, over what rates alone say (docs/log.md): the rest lies between
# operations, and kernels that are made on the way.
_SPEED: Mapping[str, Mapping[Phase, float]] = {"cpu in 16 bits": {"train": 1.7, "evaluate": 1.3}}
_SPREAD_ON_CPU: Mapping[Phase, float] = {}

# On CUDA a peak is what torch's allocator holds, the context not among it. cuBLAS has a workspace from there for each
# thread that multiplies, and training goes backward in a thread of its own. Stated, not measured: no GPU was here.
_ON_CUDA: Mapping[Phase, int] = {
    "teach": CUBLAS_WORKSPACE,
    "train": 2 * CUBLAS_WORKSPACE,
    "evaluate": CUBLAS_WORKSPACE,
    "generate": CUBLAS_WORKSPACE,
}
_SHIPPED: Mapping[str, Mapping[Phase, int]] = {
    "cpu": _ON_CPU,
    "cpu in 16 bits": _ON_CPU_IN_16_BITS,
    "cuda": _ON_CUDA,
}


@dataclass(frozen=True)
class Calibration:
    """Of one device, by phase.

    Attributes:
        runtime: bytes beyond what is simulated.
        speed: by what predicted seconds are multiplied.
        runs: from how many runs it is; 0 for what ships.
        spread: how far measured peaks lay from what this says of them, as a share: nine of ten were nearer.
        source: where it is from, in words.
        left_out: phases of runs that were too odd to learn from.
    """

    runtime: Mapping[Phase, int] = field(default_factory=dict)
    speed: Mapping[Phase, float] = field(default_factory=dict)
    runs: int = 0
    spread: Mapping[Phase, float] = field(default_factory=dict)
    source: str = "shipped"
    left_out: int = 0


class Learned(NamedTuple):
    """What became of a run.

    Attributes:
        runs: known of the device now, this one among them.
        left_out: what was not believed of this one, or why nothing of it could be kept, in words.
    """

    runs: int
    left_out: tuple[str, ...] = ()


class _Seen(BaseModel):
    """Of a phase, the newest last: ``(bytes beyond the simulation, peak)``, and seconds over those predicted."""

    model_config = ConfigDict(extra="forbid")

    beyond: list[tuple[int, int]] = []
    times: list[float] = []


class _Machine(BaseModel):
    model_config = ConfigDict(extra="forbid")

    runs: int = 0
    left_out: int = 0
    phases: dict[Phase, _Seen] = {}


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    version: Literal[1] = 1
    machines: dict[str, _Machine] = {}


def place_of(device: str, precision: Precision) -> str:
    """A device as runs of that precision know it: on a CPU, products in 16 bits are another library's."""
    return f"{device} in 16 bits" if device == "cpu" and precision != "fp32" else device


def key_of(place: str, processor: str) -> str:
    """What tells places apart: a profile's name; of processors, their maker's name."""
    return f"{place}: {processor}" if place.startswith("cpu") else place


def calibration_of(device: str, processor: str) -> Calibration:
    """What is known of a device.

    Args:
        device: a profile's name, as :func:`place_of` has it.
        processor: what its maker calls it.
    """
    file, problem = _read()
    return _calibration(device, file.machines.get(key_of(device, processor), _Machine()), problem)


def known() -> list[tuple[str, Calibration]]:
    """Devices of which something was learned here, as :func:`key_of` names them, in order."""
    file, problem = _read()
    return [(key, _calibration(key.partition(":")[0], file.machines[key], problem)) for key in sorted(file.machines)]


def learn(device: str, processor: str, plan: Plan, costs: Mapping[Phase, PhaseCost]) -> Learned | None:
    """Takes what a run that ended well has measured beside its plan; None from a plan that is a bound.

    A difference beyond reason is not of the runtime, and is left out: less than nothing, or more than half of the peak
    where that is also more than twice what ships. (The peak of a small model is nearly all runtime.)
    """
    if not plan.simulated or not plan.phases:
        return None
    try:
        with cache_lock(cache_folder() / _KIND / _KEY):
            file, _ = _read()  # what cannot be read is replaced
            machine = file.machines.setdefault(key_of(device, processor), _Machine())
            odd = [told for phase in plan.phases for told in _take(machine, device, phase, plan, costs)]
            machine.runs += 1
            machine.left_out += len(odd)
            remember(_KIND, _KEY, file.model_dump_json())
    except BudgetError as error:
        return Learned(0, (f"nothing of this run can be kept: {error}",))
    return Learned(machine.runs, tuple(odd))


def learn_from(record: RunRecord) -> Learned | None:
    """Learns from a record; None where its plan is not of what was measured.

    So it is if the run did not end well, was resumed, was pruned, was shared by processes (each has buffers for the
    others), or did what is not simulated: changed copies of examples, benchmarks.
    """
    spec, place = record.spec, record.provenance
    other = spec.ranks > 1 or spec.augment is not None or bool(spec.benchmarks) or bool(record.resumed)
    other = other or (record.selection is not None and record.selection.pruned is not None)
    if record.status != "ok" or other or record.plan.device is None or place is None or place.device_name is None:
        return None
    where = place_of(record.plan.device, spec.precision)
    return learn(where, place.device_name, record.plan, record.phases)


def _read() -> tuple[_File, str | None]:
    """What was learned so far; and why that is nothing, where there is a reason."""
    try:
        text = recall(_KIND, _KEY)
        return (_File() if text is None else _File.model_validate_json(text)), None
    except (ValueError, OSError) as error:  # no text, no JSON, of another version; or not to be opened
        told = error.strerror if isinstance(error, OSError) else "it is damaged, or of another version"
        return _File(), f"what was learned here cannot be read: {told}"


def _take(machine: _Machine, device: str, phase: Phase, plan: Plan, costs: Mapping[Phase, PhaseCost]) -> Iterator[str]:
    """Adds what a phase teaches, and says what it does not."""
    planned, cost = plan.phases[phase], costs.get(phase)
    if cost is None:
        return
    seen = machine.phases.setdefault(phase, _Seen())
    if planned.peak_bytes is not None and cost.peak_bytes is not None:
        simulated = planned.peak_bytes - planned.terms.get(RUNTIME, 0)
        beyond = cost.peak_bytes - simulated
        most = max(cost.peak_bytes // 2, 2 * _shipped(device).get(phase, 0))
        if 0 <= beyond <= most:
            seen.beyond = [*seen.beyond, (beyond, cost.peak_bytes)][-_KEPT:]
        else:
            said = f"{format_bytes(cost.peak_bytes)} were measured, and {format_bytes(simulated)} simulated"
            yield f"{phase}: {said}; no runtime makes that difference, and nothing is learned of it"
    yield from _take_seconds(seen, phase, planned, cost)


def _take_seconds(seen: _Seen, phase: Phase, planned: PlannedPhase, cost: PhaseCost) -> Iterator[str]:
    if not planned.seconds or cost.seconds < _SHORTEST_SECONDS:
        return
    times = cost.seconds * planned.factor / planned.seconds
    if 1 / _ABSURD_TIMES <= times <= _ABSURD_TIMES:
        seen.times = [*seen.times, times][-_KEPT:]
    else:
        said = f"{cost.seconds:.1f} s were measured, {times:.3g} times what rates alone say"
        yield f"{phase}: {said}; nothing is learned of it"


def _calibration(device: str, machine: _Machine, problem: str | None) -> Calibration:
    """What ships, and in its place what enough runs tell."""
    enough = {phase: seen.beyond for phase, seen in machine.phases.items() if len(seen.beyond) >= _ENOUGH}
    times = {phase: seen.times for phase, seen in machine.phases.items() if len(seen.times) >= _ENOUGH}
    runtime = {phase: round(statistics.median(beyond for beyond, _ in pairs)) for phase, pairs in enough.items()}
    shipped = _shipped(device)
    source = _words(machine.runs, runtime, shipped) if enough or times else "shipped"
    return Calibration(
        runtime={**shipped, **runtime},
        speed={**_SPEED.get(device, {}), **{phase: statistics.median(each) for phase, each in times.items()}},
        runs=machine.runs if enough or times else 0,
        spread={**(_SPREAD_ON_CPU if device == "cpu" else {}), **dict(_spreads(enough, runtime))},
        source=f"{source}; {problem}" if problem else source,
        left_out=machine.left_out,
    )


def _spreads(
    enough: Mapping[Phase, Sequence[tuple[int, int]]], runtime: Mapping[Phase, int]
) -> Iterator[tuple[Phase, float]]:
    for phase, pairs in enough.items():
        errors = [abs(peak / (peak - beyond + runtime[phase]) - 1) for beyond, peak in pairs]
        yield phase, float(np.quantile(errors, 0.9))


def _words(runs: int, learned: Mapping[Phase, int], shipped: Mapping[Phase, int]) -> str:
    others = ", ".join(phase for phase in shipped if phase not in learned)
    return f"{runs} runs on this machine" + (f"; {others} as shipped" if others else "")


def _shipped(device: str) -> Mapping[Phase, int]:
    """A device without a profile is called by its kind (plan/here.py)."""
    kind = DEVICES[device].kind if device in DEVICES else device.partition(":")[0]
    return _SHIPPED.get(kind, {})
