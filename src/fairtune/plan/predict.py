"""From a simulation to what a device needs: peaks by its allocator, seconds by its rates."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fairtune.plan.allocators.cuda import CudaCachingAllocator
from fairtune.plan.allocators.glibc import GlibcMalloc
from fairtune.plan.allocators.protocol import Allocator
from fairtune.plan.calibration import RUNTIME
from fairtune.plan.cost import Clock, seconds_of, seconds_of_all
from fairtune.plan.devices import Device
from fairtune.plan.ledger import Pass
from fairtune.plan.picks import Picked
from fairtune.plan.replay import Exact, Peak, replay
from fairtune.plan.sharing import Sharing, exchange_seconds, shared_trace
from fairtune.plan.simulate import Simulated
from fairtune.records import Phase, PlannedPhase

ALLOCATOR, STORED = "allocator", "stored weights"


@dataclass(frozen=True)
class Amount:
    """How often a run does what was simulated once.

    Attributes:
        epochs: passes over the training examples; a fraction where updates are counted.
        updates: of the optimizer.
        answers: tokens that are expected of each answer.
    """

    epochs: float = 0
    updates: int = 0
    answers: Sequence[int] = ()


@dataclass(frozen=True)
class Machine:
    """A device as far as predictions go.

    Attributes:
        clock: None where no rates are known.
        sharing: how several processes share the training; None for one alone.
        runtime: bytes that each phase takes besides tensors.
        slower: by what the seconds of each phase are multiplied: what earlier runs took against what was predicted.
    """

    device: Device
    clock: Clock | None
    runtime: Mapping[Phase, int]
    slower: Mapping[Phase, float]
    sharing: Sharing | None = None


def predict(found: Simulated, amount: Amount, machine: Machine, stored_bytes: int | None) -> dict[Phase, PlannedPhase]:
    """Peak and seconds of every phase.

    Args:
        stored_bytes: what the weights' files take, where loading them makes other weights of them: they are there
            together for a moment. None where they are used as they lie.
    """
    trace = found.trace if machine.sharing is None else shared_trace(found, machine.sharing)
    peaks = replay(trace, allocator_of(machine.device))
    seconds = _seconds(found, amount, machine)
    planned = {phase: _phase(phase, peak, seconds, machine) for phase, peak in peaks.items()}
    if machine.device.kind == "cpu" and stored_bytes:
        planned["load"] = _loading(planned["load"], stored_bytes)
    return planned


def allocator_of(device: Device) -> Allocator:
    """A new one of the kind that torch uses there."""
    if device.kind == "cuda":
        return CudaCachingAllocator()
    return GlibcMalloc() if device.kind == "cpu" and sys.platform.startswith("linux") else Exact()


def _phase(
    phase: Phase, peak: Peak, seconds: Mapping[Phase, tuple[float | None, str | None]], machine: Machine
) -> PlannedPhase:
    runtime = machine.runtime.get(phase, 0)
    terms = {**peak.terms, ALLOCATOR: peak.beyond, RUNTIME: runtime}
    took, reason = seconds.get(phase, (None, "reading files is not simulated"))
    factor = machine.slower.get(phase, 1.0)
    return PlannedPhase(
        peak_bytes=peak.reserved + runtime,
        seconds=None if took is None else took * factor,
        factor=factor,
        terms={term: size for term, size in terms.items() if size},
        reason=reason,
    )


def _loading(planned: PlannedPhase, stored_bytes: int) -> PlannedPhase:
    """On a CPU files are mapped while they are read, and count as resident."""
    assert planned.peak_bytes is not None, "a simulated phase has a peak"  # noqa: S101
    terms = {**planned.terms, STORED: stored_bytes}
    return planned.model_copy(update={"peak_bytes": planned.peak_bytes + stored_bytes, "terms": terms})


def _seconds(found: Simulated, amount: Amount, machine: Machine) -> dict[Phase, tuple[float | None, str | None]]:
    clock = machine.clock
    phases = {span.phase for span in found.trace.spans} - {"load"}
    if clock is None:
        busy = "the processor was busy while its rates were measured" if machine.device.kind == "cpu" else ""
        return dict.fromkeys(phases, (None, busy or f"no rates are known of {machine.device.name}"))
    try:
        known = {"train": _training, "evaluate": _scoring, "teach": _teaching, "generate": _writing}
        took = {phase: known[phase](found, amount, clock) for phase in phases}
        if machine.sharing is not None and "train" in took:
            took["train"] += _exchanging(found, amount, machine.sharing)
        return {phase: (seconds, None) for phase, seconds in took.items()}
    except KeyError as missing:
        told = f"the rate of {missing.args[0]} on {machine.device.name} is not known"
        return dict.fromkeys(phases, (None, told))


def _of(found: Simulated, phase: Phase, name: str) -> list[Pass]:
    return [each for each in found.passes if each.phase == phase and each.name == name]


def _training(found: Simulated, amount: Amount, clock: Clock) -> float:
    picked = found.training
    assert picked is not None, "there was a training"  # noqa: S101
    passes = [(each.tokens, seconds_of(each, clock)) for each in _of(found, "train", "pass")]
    of_an_epoch = seconds_of_all(passes, picked.tokens) / picked.share
    update = min((seconds_of(each, clock) for each in _of(found, "train", "update")), default=0.0)
    return amount.epochs * of_an_epoch + amount.updates * update + _validating(found, amount, clock, passes)


def _exchanging(found: Simulated, amount: Amount, sharing: Sharing) -> float:
    """What processes tell each other.

    Raises:
        KeyError: nobody knows how fast they can.
    """
    picked = found.training
    once = exchange_seconds(found, sharing)
    if once is None or picked is None:
        raise KeyError("exchange between processes")
    return once * (amount.updates if sharing.strategy == "ddp" else amount.epochs * picked.passes)


def _validating(found: Simulated, amount: Amount, clock: Clock, passes: list[tuple[int, float]]) -> float:
    """As scoring goes; where nothing is scored, a third of what training takes, which goes forward, and back twice."""
    tokens, seconds = max(passes)
    scored = [(each.tokens, seconds_of(each, clock)) for each in _of(found, "evaluate", "pass")]
    of_a_token = max(scored)[1] / max(scored)[0] if scored else seconds / tokens / 3
    return math.ceil(amount.epochs) * found.validation_tokens * of_a_token


def _scoring(found: Simulated, amount: Amount, clock: Clock, phase: Phase = "evaluate") -> float:
    picked: Picked | None = found.scoring
    assert picked is not None, "there was scoring"  # noqa: S101
    passes = [(each.tokens, seconds_of(each, clock)) for each in _of(found, phase, "pass")]
    return seconds_of_all(passes, picked.tokens)


def _teaching(found: Simulated, amount: Amount, clock: Clock) -> float:
    return _scoring(found, amount, clock, "teach")


def _writing(found: Simulated, amount: Amount, clock: Clock) -> float:
    """Prompts are read once, and every step writes a token of all answers that are under way."""
    steps = [(each.tokens, seconds_of(each, clock)) for each in _of(found, "generate", "step") if each.tokens]
    rows = min((tokens for tokens, _ in steps), default=1)
    reading = [(tokens, seconds) for tokens, seconds in steps if tokens > rows]
    step = max((seconds for tokens, seconds in steps if tokens == rows), default=0.0)
    prompts = sum(found.prompt_tokens)
    read = max(reading)[1] / max(reading)[0] * prompts if reading else 0.0
    return read + step * max(sum(amount.answers) / rows, max(amount.answers, default=0))
