"""The difference of two methods: how large, how sure, of what."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from fairtune.stats.estimate import with_seeds
from fairtune.stats.intervals import Interval
from fairtune.stats.paired import Tested, same_scores
from fairtune.stats.scores import Floats, Scores
from fairtune.stats.seeds import Spread, spread_of, unpaired

_NOTHING = 1e-12
"""Of a difference, what rounding leaves of none."""


@dataclass(frozen=True)
class Claim:
    """An interval of a difference, and the p-value of "no difference" (two-sided). Ends are None where nothing
    varies."""

    low: float | None
    high: float | None
    p: float


@dataclass(frozen=True)
class Difference:
    """``a`` minus ``b``.

    ``runs``: of these very runs, on other items. ``method``: on other items and with other seeds too; None where there
    are too few seeds to know. ``spread``: for what follows from it: power, equivalence.
    """

    difference: float
    n: int
    runs: Claim
    method: Claim | None
    test: str
    interval: str
    spread: Spread
    seeds: int
    changed: int = 0
    """Units on which the sides differ."""
    discordant: float | None = None
    """Share of items that one side alone has right, where each is right or wrong once."""
    reason: str | None = None
    """Why an interval is missing."""


@dataclass(frozen=True)
class Evidence:
    """Against "no difference"."""

    runs: Tested
    spread: Spread
    p_method: float | None


def difference_of(
    a: Scores,
    b: Scores,
    seeded: tuple[bool, bool] = (False, False),
    same_seeds: bool = True,
    most: int = 10_000,
    level: float = 0.95,
) -> Difference:
    """Compares the mean score of runs ``a`` with that of runs ``b`` over the same items.

    Args:
        seeded: whether a's runs, and b's, would come out otherwise with another seed.
        same_seeds: whether the runs of both, in order, have the same seeds; they are then compared seed by seed.
        most: exchanges of a randomisation test at most.

    Raises:
        ValueError: the items differ in number, or there are fewer than two.
    """
    if a.statistics.shape[1:] != b.statistics.shape[1:]:
        raise ValueError(f"items and statistics differ: {a.statistics.shape[1:]} and {b.statistics.shape[1:]}")
    if a.units.shape[1] < 2:
        raise ValueError("a comparison needs two items or clusters")
    value, found = a.value - b.value, evidence(a, b, seeded, same_seeds, most)
    tested, spread = found.runs, found.spread
    interval, reason = interval_between(a, b, level)
    runs = Claim(interval.low, interval.high, tested.p) if interval else Claim(None, None, tested.p)
    method = None
    if found.p_method is not None:
        # Seeds may differ where items do not; of what does not vary at all nothing is known.
        around = interval or (Interval(value, value, "none") if spread.variance > 0 else None)
        wide = with_seeds(around, value, spread, level=level) if around else None
        method = Claim(wide.low, wide.high, found.p_method) if wide else Claim(None, None, found.p_method)
    seeds = min([scores.runs for scores, chance in zip((a, b), seeded, strict=True) if chance], default=0)
    how = interval.method if interval else "none"
    changed = int(np.sum(np.abs(_gaps(a, b)) > _NOTHING * max(1.0, abs(value))))
    discordant = sum(_changed(a, b)[:2]) if _are_pairs(a, b) else None
    return Difference(value, a.items, runs, method, tested.method, how, spread, seeds, changed, discordant, reason)


def evidence(
    a: Scores, b: Scores, seeded: tuple[bool, bool] = (False, False), same_seeds: bool = True, most: int = 10_000
) -> Evidence:
    """Tests of "no difference", for these runs and, where there are seeds to know it by, for others too."""
    tested, spread = same_scores(a, b, most=most), spread_between(a, b, seeded, same_seeds)
    ours, theirs = _on_one_scale(a, b)
    inner, value = spread_between(ours, theirs, seeded, same_seeds), ours.value - theirs.value
    if not _are_pairs(a, b):
        # An exchange asks whether the sides could change places, an interval how large the difference is: where a few
        # items carry it all, the first may be sure and the second not. A verdict needs both.
        tested = Tested(max(tested.p, inner.without_seeds().p(value)), f"{tested.method}; and Student's t")
    # What does not hold for these runs holds for no others.
    p_method = None if spread.seeds is None else max(tested.p, inner.p(value))
    return Evidence(tested, spread, p_method)


def _on_one_scale(a: Scores, b: Scores) -> tuple[Scores, Scores]:
    """Where scores are functions of a sum over the same weights (nats over tokens), those ratios: they are equal where
    the scores are, and no few items make nearly all of them, as they do of a perplexity."""
    weights = a.statistics[..., -1], b.statistics[..., -1]
    if (weights[0] == weights[0][0]).all() and (weights[1] == weights[0][0]).all() and (weights[0] > 0).all():
        return a.inner, b.inner
    return a, b


def spread_between(a: Scores, b: Scores, seeded: tuple[bool, bool], same_seeds: bool) -> Spread:
    """Where the variance of a difference comes from. Its seeds' part is None unless both sides' seeds are known."""
    items = _paired_items(a, b)
    if any(chance and scores.runs < 2 for scores, chance in zip((a, b), seeded, strict=True)) or not any(seeded):
        return Spread(items, a.units.shape[1])
    if all(seeded) and not (same_seeds and a.runs == b.runs):
        first, second = (spread_of(scores.pseudo_values, scores.values, True) for scores in (a, b))
        return unpaired(first, second, items)
    # A side that no seed changes is one, however many runs it has.
    ours, theirs = (
        (scores.pseudo_values, scores.values)
        if chance
        else (scores.pseudo_values.mean(axis=0, keepdims=True), scores.values.mean(keepdims=True))
        for scores, chance in zip((a, b), seeded, strict=True)
    )
    found = spread_of(ours[0] - theirs[0], ours[1] - theirs[1], True)
    return Spread(items, found.units, found.seeds, min(items, found.shared), found.seed_df)


def _paired_items(a: Scores, b: Scores) -> float:
    """Variance over items of the difference of means; of right and wrong never 0 (Bonett & Price 2012)."""
    if _are_pairs(a, b):
        gained, lost, items = _changed(a, b)
        return (gained + lost - (gained - lost) ** 2) / (items + 2)
    gaps = _gaps(a, b)
    found = float(np.var(gaps, ddof=1)) / len(gaps)
    # Of several runs that agree on every item, other items may still tell them apart.
    return max(found, 2 / (len(gaps) + 2) ** 2) if a.is_binary and b.is_binary else found


def _gaps(a: Scores, b: Scores) -> Floats:
    """``(units,)``: what each unit adds to the difference."""
    gaps: Floats = a.pseudo_values.mean(axis=0) - b.pseudo_values.mean(axis=0)
    return gaps


def _are_pairs(a: Scores, b: Scores) -> bool:
    """Whether every item is right or wrong on each side, once."""
    return a.is_binary and b.is_binary and a.runs == b.runs == 1 and a.clusters is None


def _changed(a: Scores, b: Scores) -> tuple[float, float, int]:
    """Shares of items that only a, and only b, has right, each moved towards even by one item."""
    items = a.items
    gained, lost = (int(np.sum(a.item_values > b.item_values)), int(np.sum(a.item_values < b.item_values)))
    return (gained + 1) / (items + 2), (lost + 1) / (items + 2), items


def interval_between(a: Scores, b: Scores, level: float = 0.95) -> tuple[Interval | None, str | None]:
    """Of the difference of these runs over other items; or why there is none.

    Student's t over what each item adds to the difference. A bootstrap is worse here: runs agree on most items, and
    the few on which they do not are missing from many resamples (``docs/statistics.md``).
    """
    if _are_pairs(a, b):
        return bonett_price(a, b, level), None
    value = a.value - b.value
    gaps = _gaps(a, b)
    if not np.isfinite(gaps).all():
        return None, "without one of its items a score is no number"
    variance = _paired_items(a, b)
    if variance <= (_NOTHING * max(1.0, abs(value))) ** 2:
        return None, "every item shows the same difference"
    half = Spread(variance, len(gaps)).margin(level)
    clusters = "" if a.clusters is None else f", over {len(gaps)} clusters"
    return Interval(value - half, value + half, f"Student's t of paired differences{clusters}"), None


def bonett_price(a: Scores, b: Scores, level: float = 0.95) -> Interval:
    """Interval of a difference of two paired proportions (Bonett & Price 2012, eq. 3)."""
    gained, lost, items = _changed(a, b)
    half = float(ndtri(0.5 + level / 2)) * math.sqrt((gained + lost - (gained - lost) ** 2) / (items + 2))
    low, high = max(-1.0, gained - lost - half), min(1.0, gained - lost + half)
    return Interval(low, high, "Bonett and Price, paired proportions")
