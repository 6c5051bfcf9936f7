"""Corpus BLEU (Papineni et al. 2002) as sacrebleu computes it: 13a tokens, exponential smoothing, up to 4-grams.

sacrebleu counts; the formula is written out here over arrays, so that a thousand resampled corpora take a moment.
A test holds it equal to ``sacrebleu.corpus_bleu``.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from fairtune.evaluate.metrics.protocol import Floats, Metric, Outcome, answer_of

_ORDER = 4


@functools.cache
def _sacrebleu() -> Any:
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(effective_order=True)  # only for the counts of single sentences, which it does not change


class Bleu(Metric):
    """Corpus BLEU, 0–100."""

    name = "bleu"
    version = 1
    unit = "BLEU, 0–100"
    higher_is_better = True
    needs = "generation"
    statistics = (
        "output_length",
        "reference_length",
        *(f"matches_{n}" for n in range(1, _ORDER + 1)),
        *(f"ngrams_{n}" for n in range(1, _ORDER + 1)),
    )
    description = "corpus BLEU of generated answers (sacrebleu, 13a tokenisation)"
    formula = "brevity penalty · geometric mean of 1- to 4-gram precisions, from counts summed over items"
    source = "Papineni et al. 2002; sacrebleu"

    def item(self, outcome: Outcome) -> tuple[float, ...]:
        """Lengths, matching n-grams and n-grams of one answer."""
        score = _sacrebleu().sentence_score(answer_of(outcome), [outcome.reference])
        return tuple(float(count) for count in (score.sys_len, score.ref_len, *score.counts, *score.totals))

    def aggregate(self, sums: Floats) -> Floats:
        """Brevity penalty times the geometric mean of n-gram precisions, in percent."""
        ours, theirs = sums[..., 0], sums[..., 1]
        matches, ngrams = sums[..., 2 : 2 + _ORDER], sums[..., 2 + _ORDER :]
        with np.errstate(divide="ignore", invalid="ignore"):
            # sacrebleu's "exp" smoothing: the k-th order without a match counts 1 / 2**k matches.
            halvings = np.cumsum(matches == 0, axis=-1)
            smoothed = np.where(matches == 0, 0.5**halvings, matches)
            precision = 100.0 * smoothed / ngrams
            mean = np.exp(np.mean(np.log(precision), axis=-1))
            penalty = np.where(ours < theirs, np.exp(1.0 - theirs / ours), 1.0)
            score = penalty * mean
        hopeless = (matches.sum(axis=-1) == 0) | (ngrams == 0).any(axis=-1)
        value: Floats = np.where(hopeless, 0.0, score)
        return value

    def signature(self) -> str | None:
        """sacrebleu's signature of corpus BLEU with these settings."""
        from sacrebleu.metrics.bleu import BLEU

        metric = BLEU()
        metric.corpus_score(["a"], [["a"]])
        return str(metric.get_signature())
