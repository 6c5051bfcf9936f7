"""What is really there, as a device: this machine's processor, or its GPU with the profile of its name.

What asks CUDA or Metal is written with care, and was not run: neither was at hand.
"""

from __future__ import annotations

import subprocess
from dataclasses import replace

import torch

from fairtune.errors import BudgetError
from fairtune.models.device import kinds_there
from fairtune.plan.devices import DEVICES, DTYPES, Device, Kind, reported_as
from fairtune.plan.measure import Rates, this_cpu
from fairtune.units import format_bytes

_ALIKE = 0.1
"""By how much a card's memory may differ from its profile's: cards of one name are sold with different chips."""


def device_here(asked: str, rates: Rates | None = None) -> Device:
    """``auto`` (the fastest kind), ``cpu``, ``cuda``, ``cuda:1`` or ``mps`` of this machine.

    Args:
        rates: of the processor, if they were just measured.

    Raises:
        BudgetError: there is none.
    """
    there = kinds_there()
    kind, _, index = asked.partition(":")
    kind = there[0] if kind == "auto" else kind
    if kind not in there or (index and not _has(kind, index)):
        raise BudgetError(
            f"device '{asked}' is not there: this machine, or this build of torch, has {', '.join(there)}; "
            "one that is elsewhere is asked for by its name, and `fairtune devices` lists the names"
        )
    if kind == "cpu":
        return this_cpu(rates)
    return as_reported("mps", *_metal()) if kind == "mps" else as_reported("cuda", *_cuda(int(index or 0)))


def devices_here(rates: Rates | None = None) -> list[Device]:
    """One device of each kind that this machine has, the fastest first."""
    return [device_here(kind, rates) for kind in kinds_there()]


def as_reported(kind: Kind, name: str, memory_bytes: int) -> Device:
    """The profile of what the driver calls ``name``, with its real memory; without rates where there is no profile."""
    known = reported_as(name)
    if known is not None and (kind != "cuda" or _alike(known.memory_bytes, memory_bytes)):
        return known.with_memory(memory_bytes, "what torch reports here")
    why = f"no profile of '{name}' with {format_bytes(memory_bytes)}"
    some = next(device for device in DEVICES.values() if device.kind == kind)
    figures = (*DTYPES, "bandwidth", "interconnect")
    unknown = replace(some, name=kind, title=name, flops=dict.fromkeys(DTYPES), bandwidth=None, interconnect=None)
    return replace(unknown, sources={**some.sources, **dict.fromkeys(figures, why)}).with_memory(
        memory_bytes, "what torch reports here"
    )


def _alike(expected: int | None, found: int) -> bool:
    return expected is not None and abs(found / expected - 1) <= _ALIKE


def _has(kind: str, index: str) -> bool:
    return kind == "cuda" and index.isdecimal() and int(index) < torch.cuda.device_count()


def _cuda(index: int) -> tuple[str, int]:
    properties = torch.cuda.get_device_properties(index)
    return properties.name, properties.total_memory


def _metal() -> tuple[str, int]:
    found = subprocess.run(["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, check=True)
    return found.stdout.strip(), torch.mps.recommended_max_memory()
