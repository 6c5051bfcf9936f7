""" "No worse by more than a margin": a claim of its own, which "no difference shown" is not."""

from __future__ import annotations

from fairtune.stats.seeds import Spread


def p_no_worse(spread: Spread, gain: float, margin: float) -> float:
    """One-sided p-value of "worse by the margin or more" (non-inferiority; Schuirmann 1987 for both sides).

    Args:
        gain: the difference, positive where it is an improvement.
        margin: what may be lost, above 0, in the metric's unit.
    """
    distance = gain + margin
    two_sided = spread.p(distance)
    return two_sided / 2 if distance > 0 else 1 - two_sided / 2


def p_equivalent(spread: Spread, difference: float, margin: float) -> float:
    """p-value of "differs by the margin or more", one way or the other (two one-sided tests, Schuirmann 1987)."""
    return max(p_no_worse(spread, difference, margin), p_no_worse(spread, -difference, margin))
