""" "No worse by more than a margin": a claim of its own, which "no difference shown" is not."""

from __future__ import annotations

from dataclasses import replace

from fairtune.stats.difference import Difference
from fairtune.stats.seeds import Spread

FEWEST_CHANGED = 10
"""Items on which two runs must differ, before how they do says anything of the worst that could happen."""


def p_no_worse(found: Difference, gain: float, margin: float, share: bool = False) -> float | None:
    """One-sided p-value of "worse by the margin or more" (non-inferiority; Schuirmann 1987 for both sides).

    Args:
        gain: the difference, positive where it is an improvement.
        margin: what may be lost, above 0, in the metric's unit.
        share: the score is a share of items. What loses the margin then changes as many items at least, so that the
            variance is no less than that says, however few have changed.

    Returns:
        None where too few items differ for a score without such a bound: losses may be rare and large.
    """
    spread = found.spread
    if share:
        spread = replace(spread, items=max(spread.items, margin * (1 - margin) / spread.units))
    elif found.changed < FEWEST_CHANGED:
        return None
    return _one_sided(spread, gain + margin)


def p_equivalent(found: Difference, margin: float, share: bool = False) -> float | None:
    """p-value of "differs by the margin or more", one way or the other (two one-sided tests, Schuirmann 1987)."""
    sides = [p_no_worse(found, gain, margin, share) for gain in (found.difference, -found.difference)]
    known = [p for p in sides if p is not None]
    return max(known) if len(known) == len(sides) else None


def _one_sided(spread: Spread, distance: float) -> float:
    two_sided = spread.p(distance)
    return two_sided / 2 if distance > 0 else 1 - two_sided / 2
