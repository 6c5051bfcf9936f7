"""Corpus TER (Snover et al. 2006) as sacrebleu computes it: edits, shifts of phrases among them, a reference word.

sacrebleu counts; a test holds the aggregate equal to ``sacrebleu.corpus_ter``.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from fairtune.evaluate.metrics.protocol import Floats, Metric, Outcome, answer_of


@functools.cache
def _sacrebleu() -> Any:
    from sacrebleu.metrics.ter import TER

    return TER()


class Ter(Metric):
    """Corpus translation edit rate, in percent; may exceed 100."""

    name = "ter"
    version = 1
    unit = "edits per 100 reference words"
    higher_is_better = False
    needs = "generation"
    statistics = ("edits", "reference_length")
    description = "corpus translation edit rate of generated answers (sacrebleu)"
    formula = "100 · edits / reference words, both summed over items"
    source = "Snover et al. 2006; sacrebleu"

    def item(self, outcome: Outcome) -> tuple[float, ...]:
        """Edits, and words of the reference."""
        edits, length = _sacrebleu()._extract_corpus_statistics([answer_of(outcome)], [[outcome.reference]])[0]
        return float(edits), float(length)

    def aggregate(self, sums: Floats) -> Floats:
        """Edits per 100 reference words; against no words at all any edit counts as 100."""
        edits, length = sums[..., 0], sums[..., 1]
        against_nothing = np.where(edits > 0, 100.0, 0.0)
        value: Floats = np.where(length > 0, 100.0 * edits / np.where(length > 0, length, 1.0), against_nothing)
        return value

    def signature(self) -> str | None:
        """sacrebleu's signature."""
        metric = _sacrebleu()
        metric.corpus_score(["a"], [["a"]])
        return str(metric.get_signature())
