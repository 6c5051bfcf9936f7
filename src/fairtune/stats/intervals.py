"""95 % intervals of a score over the items of a test set, each by the way that holds best for its kind.

Which is taken for which was decided by how often they cover in simulations (``docs/statistics.md``).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats as scipy_stats
from scipy.special import ndtr, ndtri

from fairtune.stats.scores import Floats, Scores

REPLICATES = 2000
_CHUNK = 100  # replicates at a time: 100 × 10,000 items are 8 MB
_FEW = 8
"""Units below which too many resamples are of one item alone, and Student's t is all there is."""
_FLAT = 0.05


@dataclass(frozen=True)
class Interval:
    """Ends of an interval and how they were found."""

    low: float
    high: float
    method: str


def interval_of(scores: Scores, seed: int = 0, level: float = 0.95) -> Interval:
    """An interval over other items, for these runs: Wilson's, a studentised bootstrap, or BCa.

    Raises:
        ValueError: there are fewer than two units.
    """
    if scores.units.shape[1] < 2:
        raise ValueError("an interval needs two items or clusters")
    if scores.proportion and scores.clusters is None:
        return wilson_interval(scores.value, scores.items, level)
    if scores.units.shape[1] < _FEW:
        return t_interval(scores, level)
    ratio = scores.as_ratio()
    found = studentised_interval(ratio, seed, level) if ratio is not None else None
    if found is None:
        return bca_interval(scores, seed, level)
    ends = [float(scores.aggregate(np.array([end, 1.0]))) for end in (found.low, found.high)]
    return Interval(min(ends), max(ends), found.method + _of_clusters(scores))


def wilson_interval(share: float, items: int, level: float = 0.95) -> Interval:
    """Interval of a proportion (Wilson 1927): honest at 0 % and 100 %, where a bootstrap has no width."""
    z = float(ndtri(0.5 + level / 2))
    centre = (share + z**2 / (2 * items)) / (1 + z**2 / items)
    half = z / (1 + z**2 / items) * np.sqrt(share * (1 - share) / items + z**2 / (4 * items**2))
    return Interval(max(0.0, float(centre - half)), min(1.0, float(centre + half)), "Wilson score interval")


def t_interval(scores: Scores, level: float = 0.95) -> Interval:
    """Student's t over what each unit adds to the score; of a plain mean, the textbook's."""
    pseudo = scores.pseudo_values.mean(axis=0)
    half = float(scipy_stats.t.ppf(0.5 + level / 2, len(pseudo) - 1) * pseudo.std(ddof=1) / np.sqrt(len(pseudo)))
    return Interval(scores.value - half, scores.value + half, f"Student's t{_of_clusters(scores)}")


def studentised_interval(ratio: Floats, seed: int = 0, level: float = 0.95) -> Interval | None:
    """Bootstrap-t (Efron 1979; Hall 1988) of a sum over a sum: holds best where a few items are far from the rest.

    Args:
        ratio: ``(units, 2)`` values and weights.

    Returns:
        None where too many resamples have no spread of their own to be measured by.
    """
    x, w = ratio[:, 0], ratio[:, 1]
    moments = np.stack([x, w, x * x, x * w, w * w], axis=-1)[None]
    value, error = _ratio_and_error(moments.sum(axis=1), len(ratio))
    drawn = [_ratio_and_error(weighted_sums(moments, weights), len(ratio)) for weights in resamples(len(ratio), seed)]
    values = np.concatenate([found[0][0] for found in drawn])
    errors = np.concatenate([found[1][0] for found in drawn])
    told = (errors > 0) & np.isfinite(errors)
    if told.mean() < 1 - _FLAT:
        return None
    low, high = percentiles((values[told] - value[0]) / errors[told], level)
    ends = value[0] - high * error[0], value[0] - low * error[0]
    return Interval(float(ends[0]), float(ends[1]), f"studentised bootstrap over items, {_replicates(seed)}")


def _ratio_and_error(sums: Floats, units: int) -> tuple[Floats, Floats]:
    """Ratio and its standard error (delta method) of ``(..., 5)`` sums of x, w, x², xw, w²."""
    x, w, xx, xw, ww = np.moveaxis(sums, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = x / w
        variance = (xx - 2 * ratio * xw + ratio**2 * ww) * (units / (units - 1)) / w**2
    # Of equal items rounding leaves a spread of 1e-17: that is none.
    variance = np.where(variance < 1e-20 * np.maximum(ratio**2, 1e-300), 0.0, variance)
    return ratio, np.sqrt(variance)


def bca_interval(scores: Scores, seed: int = 0, level: float = 0.95) -> Interval:
    """Bias-corrected and accelerated bootstrap (Efron 1987), its tails widened for few items (Hesterberg 2015, 5.3).

    A score that resampling makes undefined (no number) has the ends of those that are defined.
    """
    values, left_out = bootstrap_values(scores, seed), scores.left_out.mean(axis=0)
    values = values[np.isfinite(values)]
    gaps = left_out[np.isfinite(left_out)]
    gaps = gaps.mean() - gaps
    spread = float(np.sum(gaps**2))
    acceleration = float(np.sum(gaps**3) / (6 * spread**1.5)) if spread > 0 else 0.0
    below = float(np.mean(values < scores.value) + np.mean(values == scores.value) / 2)
    # A half of a replicate is as near to certainty as 2,000 can come.
    bias = float(ndtri(np.clip(below, 0.5 / len(values), 1 - 0.5 / len(values))))
    tail = expanded_tail(len(left_out), level)
    z = bias + ndtri(np.array([tail, 1 - tail]))
    places = ndtr(bias + z / (1 - acceleration * z))
    low, high = np.quantile(values, places)
    return Interval(float(low), float(high), f"BCa bootstrap over items, {_replicates(seed)}{_of_clusters(scores)}")


def expanded_tail(units: int, level: float) -> float:
    """Share outside each end with which a bootstrap of so few units covers as Student's t does."""
    t = scipy_stats.t.ppf(0.5 + level / 2, units - 1)
    return float(ndtr(-np.sqrt(units / (units - 1)) * t))


def bootstrap_values(scores: Scores, seed: int = 0) -> Floats:
    """``(replicates,)``: the mean score of the runs over resampled units, all runs resampled together."""
    sums = (weighted_sums(scores.units, weights) for weights in resamples(scores.units.shape[1], seed))
    return np.concatenate([np.mean(np.asarray(scores.aggregate(one), dtype=np.float64), axis=0) for one in sums])


def resamples(units: int, seed: int) -> Iterator[Floats]:
    """Chunks ``(replicates, units)`` of how often each unit is drawn; the same for the same number of units."""
    draws = _draws(units, seed)
    for start in range(0, REPLICATES, _CHUNK):
        yield draws[start : start + _CHUNK].astype(np.float64)


@functools.lru_cache(maxsize=4)
def _draws(units: int, seed: int) -> npt.NDArray[np.uint8]:
    """A byte a count, so that a report's comparisons over the same items share them: 20 MB for 10,000 items.

    A count over 255 has a chance below 1e-300 for any number of units that is resampled so often.
    """
    random = np.random.default_rng(seed)
    return random.multinomial(units, np.full(units, 1 / units), size=REPLICATES).astype(np.uint8)


def weighted_sums(statistics: Floats, weights: Floats) -> Floats:
    """``(runs, units, k)`` and ``(replicates, units)`` to ``(runs, replicates, k)``."""
    return np.stack([weights @ run for run in statistics])


def percentiles(values: Floats, level: float) -> tuple[float, float]:
    """The central ``level`` of the values."""
    tail = 100 * (1 - level) / 2
    low, high = np.percentile(values, [tail, 100 - tail])
    return float(low), float(high)


def _replicates(seed: int) -> str:
    return f"{REPLICATES} replicates, seed {seed}"


def _of_clusters(scores: Scores) -> str:
    return "" if scores.clusters is None else f", {scores.units.shape[1]} clusters drawn whole"
