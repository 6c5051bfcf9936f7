"""Answers that should be JSON: whether they are, and whether they say what the reference says.

An answer is JSON if all of it is, white space at the ends aside, or all that stands between a line of three
backticks (``json`` may follow them) at its beginning and three backticks at its end. ``NaN`` and ``Infinity`` are not
JSON (RFC 8259).
"""

from __future__ import annotations

import json
import re
from typing import Any

from fairtune.evaluate.metrics.protocol import Floats, Metric, Outcome, answer_of, ratio

_FENCED = re.compile(r"```(?:json|JSON)?[ \t]*\n(.*?)\n?[ \t]*```", re.DOTALL)


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def read(text: str) -> tuple[bool, Any]:
    """Whether a text is JSON, and its value."""
    fenced = _FENCED.fullmatch(text.strip())
    try:
        return True, json.loads(fenced.group(1) if fenced else text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return False, None


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal: numbers by value, true is not 1, objects in any order, lists in theirs."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


class JsonValid(Metric):
    """Share of answers that are JSON."""

    name = "json_valid"
    version = 1
    unit = "share of items"
    higher_is_better = True
    needs = "generation"
    statistics = ("valid", "items")
    proportion = True
    description = "share of answers that are JSON, fenced by ```json or not"
    formula = "items whose answer is JSON / items"
    source = "RFC 8259"

    def item(self, outcome: Outcome) -> tuple[float, ...]:
        """1 or 0, and 1."""
        return float(read(answer_of(outcome))[0]), 1.0

    def aggregate(self, sums: Floats) -> Floats:
        """Valid answers per item."""
        return ratio(sums)

    def objection(self, reference: str) -> str | None:
        """A reference is JSON itself."""
        return None if read(reference)[0] else "its reference is no JSON"


class JsonFields(Metric):
    """Mean share of the reference's fields that an answer has right."""

    name = "json_fields"
    version = 1
    unit = "share of fields"
    higher_is_better = True
    needs = "generation"
    statistics = ("share", "items")
    description = "mean over items of the share of the reference's fields whose value is the same in the answer"
    formula = "mean of equal top-level fields / fields of the reference; 0 where the answer is no JSON object"
    source = "–"

    def item(self, outcome: Outcome) -> tuple[float, ...]:
        """Share of the reference's fields, and 1. What the answer has besides does not count."""
        _, ours = read(answer_of(outcome))
        _, theirs = read(outcome.reference)
        if not isinstance(ours, dict):
            return 0.0, 1.0
        return sum(key in ours and same(ours[key], value) for key, value in theirs.items()) / len(theirs), 1.0

    def aggregate(self, sums: Floats) -> Floats:
        """Mean over items."""
        return ratio(sums)

    def objection(self, reference: str) -> str | None:
        """A reference is a JSON object with fields."""
        valid, value = read(reference)
        if not valid:
            return "its reference is no JSON"
        return None if isinstance(value, dict) and value else "its reference is JSON, but no object with fields"
