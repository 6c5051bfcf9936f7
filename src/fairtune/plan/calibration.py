"""What no simulation knows, learned from runs: what the runtime itself takes, and how much slower a device is.

A run that ended well leaves, for each phase, what was measured beyond the simulated bytes, and its seconds over those
predicted. The last of them stay in the user's cache, by device; from three on, their median counts. Until then what
ships does. No torch here.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from fairtune.cache import recall, remember
from fairtune.records import Phase, PhaseCost, Plan

RUNTIME = "runtime"
"""The term of a plan that stands for what is calibrated."""

_KIND, _INDEX = "calibration", "devices"
_KEPT, _ENOUGH = 32, 3
# A difference is of the runtime only while it is small beside the rest, or beside what the runtime takes anyhow.
_ABSURD = 2 * 2**30

# Median of what was measured beyond simulated bytes: benchmarks/plan.py, 2026-11-27, Linux x86-64, Python 3.11, torch
# 2.13 for CPUs, transformers 5.23, two cores (docs/log.md). A process that has trained keeps what kernels took.
SHIPPED: Mapping[str, Mapping[Phase, int]] = {
    "cpu": {"load": 0, "teach": 0, "train": 0, "evaluate": 0, "generate": 0},
}


@dataclass(frozen=True)
class Calibration:
    """Of one device.

    Attributes:
        runtime: bytes of each phase beyond what is simulated.
        speed: by what predicted seconds of each phase are multiplied.
        runs: from how many runs it is; 0 for what ships.
    """

    runtime: Mapping[Phase, int] = field(default_factory=dict)
    speed: Mapping[Phase, float] = field(default_factory=dict)
    runs: int = 0


def key_of(device: str, processor: str) -> str:
    """What tells devices apart: a profile's name; of processors, their maker's name."""
    return f"{device}: {processor}" if device == "cpu" else device


def calibration_of(device: str, processor: str) -> Calibration:
    """What is known of a device.

    Args:
        device: a profile's name.
        processor: what its maker calls it.
    """
    learned = _read(key_of(device, processor))
    runtime = dict(SHIPPED.get(device, {}))
    runtime |= {phase: round(statistics.median(seen)) for phase, seen in _enough(learned, "bytes")}
    speed = {phase: statistics.median(seen) for phase, seen in _enough(learned, "times")}
    return Calibration(runtime, speed, max((len(seen) for seen in learned["bytes"].values()), default=0))


def learn(device: str, processor: str, plan: Plan, costs: Mapping[Phase, PhaseCost]) -> None:
    """Takes what a run that ended well has measured beside its plan.

    A difference beyond reason (below nothing, or more than 2 GiB and half of the peak) is not of the runtime, and is
    left out. A plan that is a bound teaches nothing.
    """
    if not plan.simulated:
        return
    key = key_of(device, processor)
    learned = _read(key)
    for phase, planned in plan.phases.items():
        cost = costs.get(phase)
        if cost is None:
            continue
        if planned.peak_bytes is not None and cost.peak_bytes is not None:
            beyond = cost.peak_bytes - (planned.peak_bytes - planned.terms.get(RUNTIME, 0))
            if 0 <= beyond <= max(_ABSURD, cost.peak_bytes // 2):
                _add(learned["bytes"], phase, float(beyond))
        if planned.seconds:
            _add(learned["times"], phase, cost.seconds * planned.factor / planned.seconds)
    remember(_KIND, key, json.dumps(learned))
    remember(_KIND, _INDEX, json.dumps(sorted({*known(), key})))


def known() -> list[str]:
    """Devices of which something was learned here, as :func:`key_of` names them."""
    listed = recall(_KIND, _INDEX)
    return json.loads(listed) if listed else []


Learned = dict[str, dict[str, list[float]]]


def _read(key: str) -> Learned:
    """What was learned; nothing from a file that cannot be read, which the next run then replaces."""
    told = recall(_KIND, key)
    try:
        found = json.loads(told) if told else {}
    except ValueError:
        found = {}
    return {what: dict(found.get(what, {})) for what in ("bytes", "times")}


def _add(seen: dict[str, list[float]], phase: Phase, value: float) -> None:
    seen[phase] = [*seen.get(phase, []), value][-_KEPT:]


def _enough(learned: Learned, what: str) -> Iterator[tuple[Phase, list[float]]]:
    for phase, seen in learned[what].items():
        if len(seen) >= _ENOUGH:
            yield phase, seen  # type: ignore[misc]
