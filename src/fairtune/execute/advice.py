"""What would make a run fit, the cheapest change first; and how much of a budget a pass may use. Each is simulated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from fairtune.methods import METHODS
from fairtune.plan.devices import DEVICES
from fairtune.records import Plan
from fairtune.study import RunSpec
from fairtune.units import format_bytes

PlanOne = Callable[[RunSpec], Plan]
_PASS_TOKENS = (512, 256, 128)
_STEP = 128
# No device is quicker with more, and no study asks for it.
_MOST = 65536
_SCALING = ("activations", "logits")


def advice_for(spec: RunSpec, plan: Plan, plan_one: PlanOne, others: Mapping[str, tuple[RunSpec, Plan]]) -> str:
    """The cheapest change with which a run fits, in words.

    Args:
        others: the study's runs and their plans, by id.
    """
    for told, changed in _changes(spec):
        found = plan_one(changed)
        if found.verdict == "fits":
            return f"fits with {told}: {format_bytes(found.peak_bytes)}"
    return _another_method(spec, others) or _another_device(plan)


def most_tokens(spec: RunSpec, plan: Plan, plan_one: PlanOne) -> int | None:
    """The most tokens of a pass that fit; None where none do, or nothing is trained.

    What grows with them is known of one size; the size that would fill the budget is then tried.
    """
    train, budget = plan.phases.get("train"), plan.budget_bytes
    if train is None or train.peak_bytes is None or budget is None or not plan.simulated:
        return None
    grows = sum(size for term, size in train.terms.items() if term in _SCALING)
    now = spec.budget.batch_tokens or 1024
    room = budget - (train.peak_bytes - grows)
    tokens = min(_MOST, int(now * room / max(1, grows))) // _STEP * _STEP
    while tokens >= _STEP:
        if plan_one(_with_tokens(spec, tokens)).verdict in ("fits", "tight"):
            return tokens
        tokens = tokens * 3 // 4 // _STEP * _STEP
    return None


def _changes(spec: RunSpec) -> Iterator[tuple[str, RunSpec]]:
    """What costs nothing but time first, then what computes again, then what rounds."""
    recipe, method = spec.training, METHODS[spec.method.name].acting(spec.method.options)
    if recipe is None:
        yield from _rounder(spec)
        return
    for tokens in _PASS_TOKENS:
        if tokens < (spec.budget.batch_tokens or 1024):
            yield f"budget.batch_tokens: {tokens}", _with_tokens(spec, tokens)
    if not recipe.gradient_checkpointing and method.no_checkpointing is None:
        again = spec.model_copy(update={"training": recipe.model_copy(update={"gradient_checkpointing": True})})
        yield "training.gradient_checkpointing: true", again
        smallest = _PASS_TOKENS[-1]
        told = f"training.gradient_checkpointing: true and budget.batch_tokens: {smallest}"
        yield told, _with_tokens(again, smallest)
    yield from _rounder(spec)


def _rounder(spec: RunSpec) -> Iterator[tuple[str, RunSpec]]:
    if spec.precision != "bf16" and "bf16" in METHODS[spec.method.name].precisions:
        yield "precision: bf16", spec.model_copy(update={"precision": "bf16"})


def _with_tokens(spec: RunSpec, tokens: int) -> RunSpec:
    return spec.model_copy(update={"budget": spec.budget.model_copy(update={"batch_tokens": tokens})})


def _another_method(spec: RunSpec, others: Mapping[str, tuple[RunSpec, Plan]]) -> str | None:
    """A run of the same study and model that fits."""
    fitting = [
        (found.peak_bytes or 0, other)
        for other, found in others.values()
        if other.model == spec.model and other.method.trains and found.verdict == "fits"
    ]
    if not fitting or not spec.method.trains:
        return None
    peak, other = max(fitting, key=lambda pair: pair[0])
    return f"{other.method.label} in {other.precision} fits: {format_bytes(peak)}"


def _another_device(plan: Plan) -> str:
    """The smallest device that has room; its own allocator and context may take a little more."""
    peak = plan.peak_bytes or 0
    larger = [
        (device.memory_bytes, device.name) for device in DEVICES.values() if (device.memory_bytes or 0) >= peak * 1.1
    ]
    if not larger:
        return f"no single device of `fairtune devices` has {format_bytes(peak)}; divide it: parallel.strategy: fsdp"
    memory, name = min(larger)
    return f"needs a larger device: {name} has {format_bytes(memory)}"


def advised(specs: Sequence[RunSpec], plans: Mapping[str, Plan], plan_one: PlanOne) -> dict[str, Plan]:
    """Plans with what was looked for besides."""
    others = {spec.run_id: (spec, plans[spec.run_id]) for spec in specs}
    told: dict[str, Plan] = {}
    for spec in specs:
        plan = plans[spec.run_id]
        if plan.verdict == "does_not_fit":
            plan = plan.model_copy(update={"advice": advice_for(spec, plan, plan_one, others)})
        elif plan.verdict in ("fits", "tight"):
            plan = plan.model_copy(update={"batch_tokens": most_tokens(spec, plan, plan_one)})
        told[spec.run_id] = plan
    return told
