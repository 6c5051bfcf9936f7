"""ROUGE-1, ROUGE-2 and ROUGE-L (Lin 2004) as the package rouge-score computes them: the mean of items' F-measures.

Its tokenizer keeps the letters a–z and digits alone, so that "niño" is two words; the signature says so.
"""

from __future__ import annotations

import functools
from importlib.metadata import version
from typing import Any

from fairtune.evaluate.metrics.protocol import Floats, Metric, Outcome, answer_of, ratio


@functools.cache
def _scorer(kind: str) -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer([kind], use_stemmer=False)


class Rouge(Metric):
    """Mean F-measure of shared n-grams, or of the longest common subsequence."""

    version = 1
    unit = "F-measure, 0–1"
    higher_is_better = True
    needs = "generation"
    statistics = ("f", "items")
    source = "Lin 2004; rouge-score"

    def __init__(self, name: str, kind: str, what: str) -> None:
        self.name, self._kind = name, kind
        self.description = f"mean over items of the F-measure of {what} (rouge-score, no stemmer)"
        self.formula = f"mean of 2PR / (P + R) over {what}"

    def item(self, outcome: Outcome) -> tuple[float, ...]:
        """F-measure, and 1."""
        found = _scorer(self._kind).score(outcome.reference, answer_of(outcome))[self._kind]
        return float(found.fmeasure), 1.0

    def aggregate(self, sums: Floats) -> Floats:
        """Mean over items."""
        return ratio(sums)

    def signature(self) -> str | None:
        """In the manner of sacrebleu's: package, what is counted, tokenizer and stemmer."""
        return f"{self._kind}|tok:lower-case a-z0-9|stem:no|f:mean over items|rouge-score:{version('rouge-score')}"


ROUGE = (
    Rouge("rouge_1", "rouge1", "words"),
    Rouge("rouge_2", "rouge2", "pairs of words"),
    Rouge("rouge_l", "rougeL", "the longest common subsequence of words"),
)
