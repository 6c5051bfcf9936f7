"""What a study's missing runs need, found out once, before the first of them starts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from fairtune.errors import FairtuneError
from fairtune.execute.nursery import Nursery
from fairtune.execute.plans import PlanRequest, Plans, make_plans, unplanned
from fairtune.records import Fit, Plan, RunRecord
from fairtune.study import RunSpec
from fairtune.units import format_bytes, format_seconds

Say = Callable[[str], None]
_TOLD_EVERY = 25
_ONE: dict[Fit, str] = {"fits": "fits", "tight": "is tight", "does_not_fit": "does not", "unknown": "is unknown"}
_MANY: dict[Fit, str] = {"fits": "fit", "tight": "are tight", "does_not_fit": "do not", "unknown": "are unknown"}


def plan_missing(
    missing: Sequence[tuple[RunSpec, RunRecord | None]], nursery: Nursery, say: Say, again: bool
) -> dict[str, Plan]:
    """A plan for each of these runs, by its id. Where planning fails, plans say why, and nothing is stopped by it.

    A run that did not fit is asked about again: the machine may be another. What was found before holds where the study
    asks for the same, and the device and its memory are the same.

    Args:
        missing: runs, each with its last record.
        again: nothing that was found before holds.

    Raises:
        KeyboardInterrupt: Ctrl-C; nothing has begun.
    """
    specs = [spec for spec, _ in missing]
    known = {} if again else {spec.run_id: record.plan for spec, record in missing if _holds(spec, record) and record}
    budget = specs[0].budget
    asked = PlanRequest(
        specs=tuple(specs), device=budget.device, memory_bytes=budget.memory, thorough=False, known=known
    )
    try:
        found = make_plans(asked, nursery, _Teller(len(specs), say))
    except (FairtuneError, OSError) as error:
        found = Plans(None, {**unplanned(specs, f"planning failed: {error}"), **known}, 0.0, str(error))
    say(_told(found))
    return dict(found.plans)


def _holds(spec: RunSpec, record: RunRecord | None) -> bool:
    """Whether a run did not fit, and what decides that is asked for as it was then."""
    return record is not None and record.status == "does_not_fit" and _deciding(record.spec) == _deciding(spec)


def _deciding(spec: RunSpec) -> tuple[object, ...]:
    """What of a study decides what fits, and is no part of a run's id."""
    return spec.budget.device, spec.budget.memory, spec.budget.batch_tokens, spec.parallel


def stands(record: RunRecord | None, plan: Plan) -> bool:
    """Whether a run has its record that it does not fit, and still does not."""
    return record is not None and record.status == "does_not_fit" and record.plan == plan


def why_not(plan: Plan) -> str:
    """Why a run that does not fit was not started, in words for its record."""
    peaks = {phase: planned.peak_bytes for phase, planned in plan.phases.items() if planned.peak_bytes is not None}
    largest = max(peaks, key=lambda phase: peaks[phase], default=None)
    others = ", ".join(f"{phase} {format_bytes(peak)}" for phase, peak in peaks.items() if phase != largest)
    needs = (
        f"needs {format_bytes(plan.peak_bytes)}{f' to {largest}' if largest else ''}{f' ({others})' if others else ''}"
    )
    has = f"may take {format_bytes(plan.budget_bytes)} of {plan.device}"
    parts = [
        f"predicted: {needs}, and {has}",
        f"mostly {plan.binding}" if plan.binding else "",
        plan.advice or "`fairtune plan` looks for what would make it fit",
        "`fairtune run --force` starts it all the same",
    ]
    return "; ".join(part for part in parts if part)


def _told(found: Plans) -> str:
    """``planned 6 runs in 4.1 s: 5 fit, 1 does not``."""
    if found.failure:
        return f"not planned, so runs start unseen: {found.failure}"
    verdicts: Mapping[Fit, int] = Counter(plan.verdict for plan in found.plans.values())
    counts = ", ".join(
        f"{verdicts[fit]} {(_ONE if verdicts[fit] == 1 else _MANY)[fit]}" for fit in _ONE if verdicts[fit]
    )
    total = len(found.plans)
    return f"planned {total} {'run' if total == 1 else 'runs'} in {format_seconds(found.seconds)}: {counts}"


class _Teller:
    """Says now and then how far planning is."""

    def __init__(self, total: int, say: Say) -> None:
        self._total, self._say, self._told = total, say, 0

    def __call__(self, count: int) -> None:
        if count >= self._told + _TOLD_EVERY:
            self._told = count
            self._say(f"planned {count} of {self._total} runs")
