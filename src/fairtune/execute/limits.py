"""What a method cannot do, told when the study is read and not in the middle of a run."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

from fairtune.errors import Problem
from fairtune.methods import METHODS, Method
from fairtune.study import RunSpec, Training

# bitsandbytes' 8-bit optimizers; paging is between a GPU's memory and its host's.
_OPTIMIZER_DEVICES = {"adamw": ("cpu", "cuda", "mps"), "adamw_8bit": ("cpu", "cuda"), "paged_adamw_8bit": ("cuda",)}

_QUANTIZED = "quantised weights have tables beside them, which a division would leave behind"


def beyond_limits(specs: Iterable[RunSpec]) -> list[Problem]:
    """Combinations of method, precision, device and recipe that cannot be run, each once, with the reason."""
    return list(dict.fromkeys(problem for spec in specs for problem in _of(spec)))


def _of(spec: RunSpec) -> Iterator[Problem]:
    method = METHODS[spec.method.name].acting(spec.method.options)
    where = f"methods: {spec.method.label}"
    if spec.precision not in method.precisions:
        yield Problem(where, f"does not run in {spec.precision}; precision can be {', '.join(method.precisions)}")
    if spec.model.scratch and METHODS[spec.method.name].quantization(spec.method.options, spec.precision):
        yield Problem(where, f"{spec.model.name} is made from scratch: there are no weights to quantise; use `models:`")
    device = _outside(spec.budget.device, method.devices)
    if device:
        yield Problem(where, f"does not run on {device}: {method.device_reason}; {_advice(method.devices)}")
    if spec.training is None:
        return
    if spec.ranks > 1:
        yield from _of_many(spec, method, spec.training)
    if spec.training.gradient_checkpointing and method.no_checkpointing:
        told = f"{method.no_checkpointing}; write `gradient_checkpointing: false` for it"
        yield Problem(where, f"cannot recompute activations (gradient_checkpointing): {told}")
    devices = _OPTIMIZER_DEVICES[spec.training.optimizer]
    device = _outside(spec.budget.device, devices)
    if device:
        yield Problem(where, f"optimizer {spec.training.optimizer} is not there on {device}; {_advice(devices)}")


def _of_many(spec: RunSpec, method: Method, training: Training) -> Iterator[Problem]:
    """What several processes cannot do together."""
    from torch import distributed  # two seconds, and only for a study that asks for it

    where = f"methods: {spec.method.label}"
    if not distributed.is_available():
        yield Problem("parallel.processes", "this build of torch has no torch.distributed; write 1")
    kind, _, index = spec.budget.device.partition(":")
    if index or kind == "mps":
        told = f"processes need a device each, and budget.device is {spec.budget.device}; it can be auto, cpu, cuda"
        yield Problem("parallel.processes", told)
    if spec.parallel.strategy != "fsdp":
        return
    quantized = METHODS[spec.method.name].quantization(spec.method.options, spec.precision) and _QUANTIZED
    reason = method.not_sharded or quantized
    if reason:
        yield Problem(where, f"cannot be divided among processes: {reason}; write `strategy: ddp`")
    if training.optimizer != "adamw":
        told = "its blocks of state cannot be divided among processes; write `strategy: ddp`, or `optimizer: adamw`"
        yield Problem(where, f"optimizer {training.optimizer}: {told}")


def _advice(devices: tuple[str, ...]) -> str:
    return f"budget.device can be {', '.join(devices)}"


def _outside(asked: str, devices: tuple[str, ...]) -> str | None:
    """The kind of device that is meant, if it is not among these."""
    kind = asked.partition(":")[0]
    if kind == "auto":
        possible = ("cpu", "mps") if sys.platform == "darwin" else ("cpu", "cuda")
        if set(possible) <= set(devices):
            return None  # whichever it is; torch takes two seconds to say which
        from fairtune.models.device import choose_device

        kind = choose_device(asked).type
    return None if kind in devices else kind
