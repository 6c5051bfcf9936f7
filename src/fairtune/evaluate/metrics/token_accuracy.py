"""Share of the reference's tokens that are the likeliest where the reference's own beginning stands before them.

Teacher-forced: every token is predicted from right ones, so it says nothing of a text that the model writes itself.
"""

from __future__ import annotations

from fairtune.evaluate.metrics.protocol import Floats, Metric, Outcome, ratio


class TokenAccuracy(Metric):
    """Teacher-forced accuracy of tokens."""

    name = "token_accuracy"
    version = 1
    unit = "share of supervised tokens"
    higher_is_better = True
    needs = "likelihood"
    reads = frozenset({"hits"})
    statistics = ("hits", "tokens")
    description = "share of the reference's tokens that are the likeliest after the reference so far (teacher-forced)"
    formula = "tokens that are the argmax / tokens, both summed over items"
    source = "–"

    def item(self, outcome: Outcome) -> tuple[float, ...]:
        """Right tokens, and tokens."""
        if outcome.hits is None or outcome.loss_tokens is None:
            raise ValueError(f"item {outcome.id} has no likelihood")
        return float(outcome.hits), float(outcome.loss_tokens)

    def aggregate(self, sums: Floats) -> Floats:
        """Right tokens a token."""
        return ratio(sums)
