"""Perplexity of the answer tokens, end-of-turn token included: ``exp(total loss / total tokens)``.

A mean over tokens of the whole test set, not a mean of batch or item means.
"""

from __future__ import annotations

import numpy as np

from fairtune.evaluate.metrics.protocol import Floats, Metric, Outcome


class Perplexity(Metric):
    """exp of the mean negative log-likelihood per answer token."""

    name = "perplexity"
    version = 1
    unit = "per answer token"
    higher_is_better = False
    needs = "likelihood"
    statistics = ("loss_nats", "tokens")
    description = "exp of the mean negative log-likelihood of the reference answer's tokens"
    formula = "exp(nats / tokens), both summed over items"
    source = "–"

    def item(self, outcome: Outcome) -> tuple[float, ...]:
        """Loss and number of tokens."""
        if outcome.loss is None or outcome.loss_tokens is None:
            raise ValueError(f"item {outcome.id} has no likelihood")
        return outcome.loss, float(outcome.loss_tokens)

    def aggregate(self, sums: Floats) -> Floats:
        """exp(loss / tokens)."""
        with np.errstate(over="ignore"):
            value: Floats = np.exp(sums[..., 0] / sums[..., 1])
        return value
