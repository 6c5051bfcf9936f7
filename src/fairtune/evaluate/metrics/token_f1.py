"""Token F1 of SQuAD (Rajpurkar et al. 2016): words that answer and reference share, whatever their order.

Words are what its script makes of a text: small letters, no ASCII punctuation, no "a", "an", "the".
"""

from __future__ import annotations

import re
import string
from collections import Counter

from fairtune.evaluate.metrics.protocol import Floats, Metric, Outcome, answer_of, ratio

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def words(text: str) -> list[str]:
    """The words that are compared."""
    return _ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split()


class TokenF1(Metric):
    """Mean over items of the F1 of words."""

    name = "token_f1"
    version = 1
    unit = "F1, 0–1"
    higher_is_better = True
    needs = "generation"
    statistics = ("f1", "items")
    description = "mean over items of the F1 of words shared with the reference (SQuAD's words)"
    formula = "mean of 2 · shared words / (words of answer + words of reference)"
    source = "Rajpurkar et al. 2016, arXiv:1606.05250; where a side has no words: SQuAD 2.0's script"

    def item(self, outcome: Outcome) -> tuple[float, ...]:
        """F1, and 1. Where a side has no words, 1 if both have none."""
        ours, theirs = words(answer_of(outcome)), words(outcome.reference)
        if not ours or not theirs:
            return float(ours == theirs), 1.0
        shared = sum((Counter(ours) & Counter(theirs)).values())
        return 2.0 * shared / (len(ours) + len(theirs)), 1.0

    def aggregate(self, sums: Floats) -> Floats:
        """Mean over items."""
        return ratio(sums)
