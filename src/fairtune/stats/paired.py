"""Tests of "these runs score the same", paired item by item over the same items."""

from __future__ import annotations

import itertools
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
    return _counted(
        (_at_least((1.0 - 2.0 * swaps) @ gaps, observed) for swaps in exchanges(len(gaps), seed, most)), "sign flips"
    )


def randomisation(ours: Floats, theirs: Floats, aggregate: Aggregate, seed: int = 0, most: int = 10_000) -> Tested:
    """Approximate randomisation (Noreen 1989; for BLEU Riezler & Maxwell 2005): units are exchanged at random.

    Args:
        ours: ``(runs, units, k)`` statistics, of as many runs as ``theirs``.
    """
    gap = theirs - ours
    sums = ours.sum(axis=1)[:, None], theirs.sum(axis=1)[:, None]
    observed = abs(float(_difference(aggregate, *sums)[0]))

    def extreme(swaps: Floats) -> Flags:
        moved = np.stack([swaps @ run for run in gap])
        return _at_least(_difference(aggregate, sums[0] + moved, sums[1] - moved), observed)

    units = ours.shape[1]
    if units <= _EXACT:
        swaps = np.array(list(itertools.product((0.0, 1.0), repeat=units)))
        return Tested(float(np.mean(extreme(swaps))), "randomisation, all exchanges")
    return _counted((extreme(swaps) for swaps in exchanges(units, seed, most)), "approximate randomisation")


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


def _counted(chunks: Iterator[Flags], method: str) -> Tested:
    """``(1 + extreme) / (1 + all)``; or, once enough are extreme, their share of what was drawn until then."""
    extreme = done = 0
    for found in chunks:
        if extreme + found.sum() >= _ENOUGH:
            done += int(np.flatnonzero(found)[_ENOUGH - extreme - 1]) + 1
            return Tested(_ENOUGH / done, f"{method}, {done:,} of them")
        extreme, done = extreme + int(found.sum()), done + len(found)
    return Tested((1 + extreme) / (1 + done), f"{method}, {done:,} of them")
