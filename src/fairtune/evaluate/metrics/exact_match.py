"""Share of answers that are the reference, letter for letter, white space at the ends aside."""

from __future__ import annotations

from typing import Literal

from fairtune.evaluate.metrics.protocol import Floats, Outcome


class ExactMatch:
    """Share of generated answers equal to the reference."""

    name = "exact_match"
    version = 1
    unit = "share of items"
    higher_is_better = True
    needs: Literal["likelihood", "generation"] = "generation"
    statistics: tuple[str, ...] = ("correct", "items")
    proportion = True
    description = "share of generated answers equal to the reference, white space at the ends aside"

    def item(self, outcome: Outcome) -> tuple[float, ...]:
        """1 or 0, and 1."""
        if outcome.output is None:
            raise ValueError(f"item {outcome.id} has no generated answer")
        return float(outcome.output.strip() == outcome.reference.strip()), 1.0

    def aggregate(self, sums: Floats) -> Floats:
        """Hits per item."""
        value: Floats = sums[..., 0] / sums[..., 1]
        return value

    def signature(self) -> str | None:
        """None: the definition is above."""
        return None
