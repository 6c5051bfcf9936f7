"""Two sources of chance: which items a test set has, and which seeds a method was trained with.

The model is that of a two-way table without repeats: score of seed s on item i = mean + seed + item + their
interaction, all random (Searle, Casella & McCulloch 1992). The variance of the mean over S seeds and n items is then
``seed/S + item/n + interaction/(S n)``, and mean squares estimate it without bias as ``items' part + seeds' part``:
the second is what the S scores themselves differ by, over S.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import stdtrit

from fairtune.stats.scores import Floats

_LEAST = 1e-12
"""The smallest p-value that is told apart from none."""


@dataclass(frozen=True)
class Spread:
    """Variance of a score or a difference, by where it comes from.

    ``items``: of the mean over these seeds, on other items. ``shared``: of that, the part which other seeds would
    average out too (interaction), and which ``seeds`` holds already. ``seeds``: what the seeds' scores differ by, over
    their number; None where there is one seed, or none matters. ``groups``: sets of seeds that ``seeds`` is a sum over.
    """

    items: float
    units: int
    seeds: float | None = None
    shared: float = 0.0
    seed_df: float = 0.0

    @property
    def variance(self) -> float:
        """Of everything that is known to vary."""
        return self.items if self.seeds is None else max(self.items, self.items - self.shared + self.seeds)

    def margin(self, level: float) -> float:
        """Half the width of an interval of this confidence.

        Each part has its own Student's t, and their squares add (MOVER, Zou & Donner 2008), so that two seeds say as
        little as they do: a t of one degree of freedom. Never less than the items alone ask for.
        """
        return self._margin_at(1 - level)

    def _margin_at(self, p: float) -> float:
        alone = float(stdtrit(self.units - 1, p / 2)) ** 2
        if self.seeds is None:
            return math.sqrt(alone * self.items)
        seeds = float(stdtrit(self.seed_df, p / 2)) ** 2
        rest = max(0.0, self.items - self.shared)
        return math.sqrt(max(alone * self.items, alone * rest + seeds * self.seeds))

    def p(self, distance: float) -> float:
        """Two-sided p-value of a true value that lies this far away: one minus the confidence that just reaches it."""
        distance = abs(distance)
        if distance == 0 or not math.isfinite(self.variance):
            return 1.0
        if distance >= self._margin_at(_LEAST):
            return _LEAST
        return float(brentq(lambda p: self._margin_at(p) - distance, _LEAST, 1.0, xtol=_LEAST, rtol=1e-9))

    def without_seeds(self) -> Spread:
        """As if only the items varied: of these very runs."""
        return Spread(self.items, self.units)


def spread_of(pseudo: Floats, values: Floats, seeded: bool) -> Spread:
    """The spread of the mean over runs.

    Args:
        pseudo: ``(runs, units)`` of what each unit adds to each run's score.
        values: ``(runs,)`` scores.
        seeded: whether the runs differ by chance, so that others would score otherwise.
    """
    runs, units = pseudo.shape
    items = float(np.var(pseudo.mean(axis=0), ddof=1)) / units
    if runs < 2 or not seeded:
        return Spread(items, units)
    rest = pseudo - pseudo.mean(axis=0) - pseudo.mean(axis=1, keepdims=True) + pseudo.mean()
    interaction = float(np.sum(rest**2)) / ((runs - 1) * (units - 1))
    seeds = float(np.var(values, ddof=1)) / runs
    return Spread(items, units, seeds, min(items, interaction / (runs * units)), runs - 1)


def unpaired(a: Spread, b: Spread, items: float) -> Spread:
    """Of a difference whose sides have seeds of their own; ``items`` is paired.

    Degrees of freedom are those of the side with fewer seeds: Welch's call up to 11 % of equal methods different where
    one side has two seeds and the larger spread.
    """
    if a.seeds is None or b.seeds is None:
        return Spread(items, a.units)
    shared = min(items, a.shared + b.shared)
    return Spread(items, a.units, a.seeds + b.seeds, shared, min(a.seed_df, b.seed_df))
