"""Whether a run fits, and what decides it."""

from __future__ import annotations

from collections.abc import Mapping

from fairtune.records import Fit, Phase, PlannedPhase
from fairtune.units import format_bytes

MARGIN = 0.08
"""By how much a peak may turn out otherwise than predicted: measured in benchmarks/plan.py (docs/planner.md)."""


def fit_of(peak_bytes: int | None, budget_bytes: int | None, margin: float = MARGIN) -> Fit:
    """``fits`` with room for the margin, ``tight`` within it either way, else ``does_not_fit``."""
    if peak_bytes is None or budget_bytes is None:
        return "unknown"
    if peak_bytes * (1 + margin) <= budget_bytes:
        return "fits"
    return "tight" if peak_bytes * (1 - margin) <= budget_bytes else "does_not_fit"


def highest(phases: Mapping[Phase, PlannedPhase]) -> tuple[Phase, int] | None:
    """The phase that takes most, and how much; None where no peak is known."""
    known = [(planned.peak_bytes, phase) for phase, planned in phases.items() if planned.peak_bytes is not None]
    if not known:
        return None
    peak, phase = max(known, key=lambda pair: pair[0])
    return phase, peak


def binding_of(phases: Mapping[Phase, PlannedPhase]) -> str | None:
    """The largest term of the highest peak, in words: ``train: logits 9.8 of 23.1 GiB``."""
    found = highest(phases)
    if found is None or not phases[found[0]].terms:
        return None
    phase, peak = found
    term, size = max(phases[phase].terms.items(), key=lambda item: item[1])
    return f"{phase}: {term} {format_bytes(size)} of {format_bytes(peak)}"
