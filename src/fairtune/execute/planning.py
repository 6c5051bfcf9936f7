"""Plans of runs: what each needs of a device, before any weight is there."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fairtune.plan.devices import Device
from fairtune.records import Plan
from fairtune.study import RunSpec


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
    raise NotImplementedError
