"""Many comparisons at once."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted so that the chance of any false "better" in the family stays below the level (Holm 1979)."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def gated(first: Sequence[float], second: Sequence[float]) -> list[float]:
    """Adjusted p-values of a second family that is only asked where the first has shown anything.

    So the chance of any false claim in both together stays below the level where nothing is true (serial gatekeeping,
    Westfall & Krishen 2001). Without a first family the second stands as it is.
    """
    gate = min(first, default=0.0)
    return [max(gate, p) for p in second]
