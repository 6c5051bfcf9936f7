"""What a comparison could have shown, and what would settle it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import bdtr, ndtri
from scipy.stats import binom

from fairtune.stats.difference import Difference
from fairtune.stats.paired import smallest_p
from fairtune.stats.seeds import Spread

POWER = 0.8
"""Chance with which a true difference is to be shown (Cohen 1988)."""
_MOST = 10_000_000
_STEPS = 40
_SPREADS = 8.0


@dataclass(frozen=True)
class Needed:
    """What would show a difference with a chance of 80 %, everything else as it is. None: no number is known to."""

    items: int | None
    seeds: int | None


def smallest_difference(found: Difference, level: float = 0.05) -> float | None:
    """The smallest true difference that a test at this level shows with a chance of 80 %.

    None where nothing varies, so that nothing is known, and where no difference could be shown: of five items not even
    one that all five share.
    """
    if found.discordant is not None and found.spread.seeds is None:
        return _smallest_share(found.n, found.discordant, level)
    if found.spread.variance == 0 or smallest_p(found.spread.units) >= level:
        return None
    return _smallest(found.spread, level)


def needed(found: Difference, level: float = 0.05) -> Needed:
    """How many items, with these seeds, or how many seeds, on these items, a difference of this size needs.

    It takes the difference that was seen for the true one, which is often smaller: numbers are rather too low.
    """
    size, spread = abs(found.difference), found.spread
    if size == 0 or spread.variance == 0:
        return Needed(None, None)
    if found.discordant is not None and spread.seeds is None:
        share = max(found.discordant, size)
        return Needed(_least(lambda items: _mcnemar_power(items, share, size, level) >= POWER, found.n), None)
    items = _least(
        lambda units: smallest_p(units) < level and _smallest(_with_items(spread, units), level) <= size, spread.units
    )
    seeds = None
    if spread.seeds is not None:
        now, part = round(spread.seed_df) + 1, spread.seeds
        seeds = _least(lambda count: _smallest(_with_seeds(spread, part, count, now), level) <= size, now)
    return Needed(items, seeds)


def _smallest(spread: Spread, level: float) -> float:
    return spread.margin(1 - level) + float(ndtri(POWER)) * math.sqrt(spread.variance)


def _smallest_share(items: int, discordant: float, level: float) -> float | None:
    """Of right and wrong, by the exact test: at least as many items differ as the difference says."""
    low, high = 0.0, 1.0
    if _mcnemar_power(items, 1.0, 1.0, level) < POWER:
        return None
    for _ in range(_STEPS):
        middle = (low + high) / 2
        shown = _mcnemar_power(items, max(discordant, middle), middle, level) >= POWER
        low, high = (low, middle) if shown else (middle, high)
    return high


def _mcnemar_power(items: int, discordant: float, difference: float, level: float) -> float:
    """Chance that McNemar's exact test rejects, where this share of items differs, more of them one way."""
    share = min(1.0, discordant)
    spread = math.sqrt(items * share * (1 - share))
    first = max(0, math.floor(items * share - _SPREADS * spread) - 1)
    last = min(items, math.ceil(items * share + _SPREADS * spread) + 1)
    changed = np.arange(first, last + 1)
    # The most changes the other way with which the test still rejects; −1 where it never does.
    most = binom.ppf(level / 2, changed, 0.5)
    most = np.where(2 * bdtr(np.maximum(most, 0), changed, 0.5) <= level, most, most - 1)
    better = (share + min(difference, share)) / (2 * share)
    rejected = binom.sf(changed - most - 1, changed, better) + binom.cdf(most, changed, better)
    return float(np.sum(binom.pmf(changed, items, share) * np.where(most >= 0, rejected, 0.0)))


def _with_items(spread: Spread, units: int) -> Spread:
    """As many units: all that averages out over items shrinks, the seeds' own part stays."""
    share = spread.units / units
    seeds = None if spread.seeds is None else max(0.0, spread.seeds - spread.shared) + spread.shared * share
    return replace(spread, items=spread.items * share, units=units, seeds=seeds, shared=spread.shared * share)


def _with_seeds(spread: Spread, part: float, seeds: int, now: int) -> Spread:
    """As many seeds instead of ``now``, whose part of the variance is ``part``."""
    share, shared = now / seeds, spread.shared * now / seeds
    items = spread.items - spread.shared + shared
    return replace(spread, items=items, seeds=part * share, shared=shared, seed_df=float(seeds - 1))


def _least(shows: Callable[[int], bool], now: int) -> int | None:
    """The smallest number above ``now`` that shows it, by doubling, then by halving; None where none does.

    None too where ``now`` was enough: then it is not their number that is wanting.
    """
    if shows(now):
        return None
    high = now
    while not shows(high):
        high *= 2
        if high > _MOST:
            return None
    low = max(now + 1, high // 2)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if shows(middle) else (middle + 1, high)
    return high
