"""Cross-entropy: mean negative log-likelihood in nats, ``total loss / total tokens``; the "validation loss" of papers.

The logarithm of perplexity. For a character tokenizer it is nats per character.
"""

from __future__ import annotations

from fairtune.evaluate.metrics.protocol import Floats, Metric, Outcome, ratio


class CrossEntropy(Metric):
    """Mean negative log-likelihood per supervised token."""

    name = "cross_entropy"
    version = 1
    unit = "nats per supervised token"
    higher_is_better = False
    needs = "likelihood"
    statistics = ("loss_nats", "tokens")
    description = "mean negative log-likelihood of the reference's tokens, in nats"
    formula = "nats / tokens, both summed over items"
    source = "–"

    def item(self, outcome: Outcome) -> tuple[float, ...]:
        """Loss and number of tokens."""
        if outcome.loss is None or outcome.loss_tokens is None:
            raise ValueError(f"item {outcome.id} has no likelihood")
        return outcome.loss, float(outcome.loss_tokens)

    def aggregate(self, sums: Floats) -> Floats:
        """Nats per token."""
        return ratio(sums)
