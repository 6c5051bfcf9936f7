"""Whether an answer ends in the reference's number: GSM8K (Cobbe et al. 2021), as lm-evaluation-harness reads it.

Its two filters and its normalisation (task gsm8k, version 3), written out; a test holds them equal to its own.
"""

from __future__ import annotations

import re

from fairtune.evaluate.metrics.protocol import Floats, Metric, Outcome, answer_of, ratio

_STRICT = re.compile(r"#### (\-?[0-9\.\,]+)")
_FLEXIBLE = re.compile(r"-?[$0-9.,]{2,}|-?[0-9]+")
_IGNORED = tuple(re.compile(pattern) for pattern in (",", r"\$", r"(?s).*#### ", r"\.$"))
_NUMBER = re.compile(r"-?[0-9]*\.?[0-9]+")


def strict(answer: str) -> str | None:
    """The first number that stands after ``####``, as it is written."""
    found = _STRICT.search(answer)
    return found.group(1) if found else None


def flexible(answer: str) -> str | None:
    """The last number, as it is written."""
    found = _FLEXIBLE.findall(answer)
    return found[-1] if found else None


def plain(text: str) -> str:
    """Without commas, dollar signs, all up to ``#### ``, and a full stop at the end."""
    for pattern in _IGNORED:
        text = pattern.sub("", text)
    return text.lower()


class NumberMatch(Metric):
    """Share of answers whose number is the reference's, digit for digit."""

    version = 1
    unit = "share of items"
    higher_is_better = True
    needs = "generation"
    statistics = ("correct", "items")
    proportion = True
    source = "Cobbe et al. 2021, arXiv:2110.14168; lm-evaluation-harness, gsm8k"

    def __init__(self, name: str, is_strict: bool) -> None:
        self.name, self._read = name, strict if is_strict else flexible
        which = "first number after `####`" if is_strict else "last number"
        self.description = f"share of answers whose {which} is the reference's"
        self.formula = "items with the same number / items; commas, dollar signs and a full stop at the end ignored"

    def item(self, outcome: Outcome) -> tuple[float, ...]:
        """1 or 0, and 1."""
        found = self._read(answer_of(outcome))
        return float(found is not None and plain(found) == plain(outcome.reference)), 1.0

    def aggregate(self, sums: Floats) -> Floats:
        """Hits per item."""
        return ratio(sums)

    def objection(self, reference: str) -> str | None:
        """A reference is a number, or ends in ``#### NUMBER``."""
        if _NUMBER.fullmatch(plain(reference).strip()):
            return None
        return "its reference is no number, and does not end in `#### NUMBER`"


NUMBERS = (NumberMatch("number_match", True), NumberMatch("number_match_flexible", False))
