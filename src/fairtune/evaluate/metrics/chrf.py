"""Corpus chrF2 (Popović 2015) as sacrebleu computes it: character n-grams up to 6, recall counts twice.

sacrebleu counts; the formula is written out here over arrays. A test holds it equal to ``sacrebleu.corpus_chrf``.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from fairtune.evaluate.metrics.protocol import Floats, Metric, Outcome, answer_of

_ORDER = 6
_BETA_SQUARED = 4.0


@functools.cache
def _sacrebleu() -> Any:
    from sacrebleu.metrics.chrf import CHRF

    return CHRF()


class Chrf(Metric):
    """Corpus chrF2, 0–100."""

    name = "chrf"
    version = 1
    unit = "chrF2, 0–100"
    higher_is_better = True
    needs = "generation"
    statistics = tuple(f"{what}_{n}" for n in range(1, _ORDER + 1) for what in ("output", "reference", "matches"))
    description = "corpus chrF2 of generated answers (sacrebleu)"
    formula = "F2 of mean precision and mean recall of character 1- to 6-grams, from counts summed over items"
    source = "Popović 2015; sacrebleu"

    def item(self, outcome: Outcome) -> tuple[float, ...]:
        """For each n: n-grams of the output, of the reference, and matches."""
        # sacrebleu's public scores hide the counts that a corpus score is made of.
        counts = _sacrebleu()._extract_corpus_statistics([answer_of(outcome)], [[outcome.reference]])[0]
        return tuple(float(count) for count in counts)

    def aggregate(self, sums: Floats) -> Floats:
        """F-score of mean precision and mean recall over the orders that both sides have."""
        ours, theirs, matches = sums[..., 0::3], sums[..., 1::3], sums[..., 2::3]
        counted = (ours > 0) & (theirs > 0)
        orders = np.maximum(counted.sum(axis=-1), 1)
        precision = np.where(counted, matches / np.maximum(ours, 1), 0.0).sum(axis=-1) / orders
        recall = np.where(counted, matches / np.maximum(theirs, 1), 0.0).sum(axis=-1) / orders
        below = _BETA_SQUARED * precision + recall
        above = (1.0 + _BETA_SQUARED) * precision * recall
        value: Floats = 100.0 * np.where(below > 0, above / np.where(below > 0, below, 1.0), 0.0)
        return value

    def signature(self) -> str | None:
        """sacrebleu's signature."""
        metric = _sacrebleu()
        metric.corpus_score(["a"], [["a"]])
        return str(metric.get_signature())
