"""Tests of "these runs score the same", paired item by item over the same items."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr

from fairtune.stats.scores import Aggregate, Floats, Scores

Flags = npt.NDArray[np.bool_]

_EXACT = 12
"""Units of which all 2ⁿ exchanges are gone through."""
_CHUNK = 250
_FAR = 2000
"""Exchanges after which one may say that what was seen is beyond all of them."""
_ENOUGH = 200
"""Exchanges as extreme as what was seen, after which a p-value is known well enough (Besag & Clifford 1991)."""


@dataclass(frozen=True)
class Tested:
    """A two-sided p-value and how it was found."""

    p: float
    method: str


def same_scores(a: Scores, b: Scores, seed: int = 0, most: int = 10_000) -> Tested:
    """Exact McNemar for right and wrong, sign flips for means, approximate randomisation for everything else.

    Args:
        most: exchanges at most. A p-value is never below ``1 / (most + 1)``: many comparisons need more.
    """
    if a.is_binary and b.is_binary and a.runs == b.runs == 1 and a.clusters is None:
        return mcnemar(a.item_values[0], b.item_values[0])
    if a.is_mean and b.is_mean:
        gaps = _gaps(a, b)
        return sign_flips(gaps, seed, most)
    return randomisation(*matched(a, b), a.aggregate, seed, most)


def mcnemar(a: Floats, b: Floats) -> Tested:
    """Exact McNemar test (1947) of ``(items,)`` zeros and ones: do items that changed go both ways alike?"""
    gained, lost = int(np.sum(a > b)), int(np.sum(a < b))
    if gained + lost == 0:
        return Tested(1.0, "McNemar, exact")
    # Of a fair coin both tails are alike, so this is the binomial test.
    return Tested(min(1.0, 2 * float(bdtr(min(gained, lost), gained + lost, 0.5))), "McNemar, exact")


def sign_flips(gaps: Floats, seed: int = 0, most: int = 10_000) -> Tested:
    """Permutation test of a mean difference of 0: each unit's difference changes its sign at random (Fisher 1935)."""
    observed = abs(float(gaps.sum()))
    if len(gaps) <= _EXACT:
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=len(gaps))))
        return Tested(float(np.mean(_at_least(signs @ gaps, observed))), "sign flips, all of them")
    chunks = ((1.0 - 2.0 * swaps) @ gaps for swaps in exchanges(len(gaps), seed, most))
    return _no_rarer(_counted(chunks, observed, most, "sign flips"), len(gaps))


def randomisation(ours: Floats, theirs: Floats, aggregate: Aggregate, seed: int = 0, most: int = 10_000) -> Tested:
    """Approximate randomisation (Noreen 1989; for BLEU Riezler & Maxwell 2005): units are exchanged at random.

    Args:
        ours: ``(runs, units, k)`` statistics, of as many runs as ``theirs``.
    """
    gap = theirs - ours
    sums = ours.sum(axis=1)[:, None], theirs.sum(axis=1)[:, None]
    observed = abs(float(_difference(aggregate, *sums)[0]))

    def exchanged(swaps: Floats) -> Floats:
        moved = np.stack([swaps @ run for run in gap])
        return _difference(aggregate, sums[0] + moved, sums[1] - moved)

    units = ours.shape[1]
    if units <= _EXACT:
        swaps = np.array(list(itertools.product((0.0, 1.0), repeat=units)))
        return Tested(float(np.mean(_at_least(exchanged(swaps), observed))), "randomisation, all exchanges")
    chunks = (exchanged(swaps) for swaps in exchanges(units, seed, most))
    return _no_rarer(_counted(chunks, observed, most, "approximate randomisation"), units)


def matched(a: Scores, b: Scores) -> tuple[Floats, Floats]:
    """Units of both with as many runs: in pairs where the numbers agree, else every run of a meets every one of b."""
    if a.runs == b.runs:
        return a.units, b.units
    return np.repeat(a.units, b.runs, axis=0), np.tile(b.units, (a.runs, 1, 1))


def exchanges(units: int, seed: int, most: int) -> Iterator[Floats]:
    """Chunks ``(exchanges, units)`` of zeros and ones; the same for the same number of units."""
    random = np.random.default_rng([seed, 1])
    for start in range(0, most, _CHUNK):
        count = min(_CHUNK, most - start)
        drawn = np.frombuffer(random.bytes(count * (-(-units // 8))), dtype=np.uint8).reshape(count, -1)
        yield np.unpackbits(drawn, axis=1, count=units).astype(np.float64)


def _gaps(a: Scores, b: Scores) -> Floats:
    """``(units,)`` differences of the runs' mean statistics."""
    gaps: Floats = a.units[..., 0].mean(axis=0) - b.units[..., 0].mean(axis=0)
    return gaps


def _difference(aggregate: Aggregate, ours: Floats, theirs: Floats) -> Floats:
    """``(runs, replicates, k)`` sums of both sides to ``(replicates,)`` mean differences."""
    values: Floats = np.mean(aggregate(ours) - aggregate(theirs), axis=0)
    return values


def _at_least(values: Floats, observed: float) -> Flags:
    """Which are as far from 0 as what was seen; neither rounding nor a value that is no number may make that rarer."""
    return ~(np.abs(values) < observed * (1 - 1e-9) - 1e-12)


def smallest_p(units: int) -> float:
    """Of any exchange of so many units: two of all 2ⁿ are as extreme as the most extreme."""
    return float(2.0 ** (1 - min(units, 1000)))


def _no_rarer(tested: Tested, units: int) -> Tested:
    return Tested(max(tested.p, smallest_p(units)), tested.method)


def _counted(chunks: Iterator[Floats], observed: float, most: int, method: str) -> Tested:
    """``(1 + extreme) / (1 + all)``; sooner, once enough are extreme, or what was seen is far beyond all of them.

    Of the latter the p-value is that of ``most`` exchanges of which none was extreme: more is not claimed, since only
    of a sum of signs Hoeffding's bound is one.
    """
    extreme = done = 0
    squares = 0.0
    for values in chunks:
        found = _at_least(values, observed)
        if extreme + found.sum() >= _ENOUGH:
            done += int(np.flatnonzero(found)[_ENOUGH - extreme - 1]) + 1
            return Tested(_ENOUGH / done, f"{method}, {done:,} of them")
        extreme, done, squares = extreme + int(found.sum()), done + len(found), squares + float(np.sum(values**2))
        if done >= _FAR and not extreme and _bound(observed, squares / done) < 1 / (1 + most):
            return Tested(1 / (1 + most), f"{method}, {done:,} of them, and what was seen is far beyond all")
    return Tested((1 + extreme) / (1 + done), f"{method}, {done:,} of them")


def _bound(observed: float, variance: float) -> float:
    """Hoeffding's of a sum of independent signs (1963), whose variance is that of the exchanges."""
    return 2 * math.exp(-(observed**2) / (2 * variance)) if variance > 0 else 0.0
