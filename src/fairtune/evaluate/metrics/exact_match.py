"""Share of answers that are the reference, letter for letter, white space at the ends aside."""

from __future__ import annotations

from fairtune.evaluate.metrics.protocol import Floats, Metric, Outcome, answer_of, ratio


class ExactMatch(Metric):
    """Share of generated answers equal to the reference."""

    name = "exact_match"
    version = 1
    unit = "share of items"
    higher_is_better = True
    needs = "generation"
    statistics = ("correct", "items")
    proportion = True
    description = "share of generated answers equal to the reference, white space at the ends aside"
    formula = "items whose answer is the reference / items"
    source = "–"

    def item(self, outcome: Outcome) -> tuple[float, ...]:
        """1 or 0, and 1."""
        return float(answer_of(outcome).strip() == outcome.reference.strip()), 1.0

    def aggregate(self, sums: Floats) -> Floats:
        """Hits per item."""
        return ratio(sums)
