"""What a judge says of one item, in both orders. No torch.

A judge likes the answer that it is shown first, or last, more than it should (Zheng et al. 2023, arXiv:2306.05685,
section 3.3). So it is asked in both orders, and wins and losses are items of which both orders say the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Vote = Literal["run", "against", "neither"]
Result = Literal["win", "tie", "loss"]

SCORES: dict[Result, float] = {"win": 1.0, "tie": 0.5, "loss": 0.0}
"""What an item adds to the win rate."""

_FIELD = re.compile(r"\{(question|answer_a|answer_b|reference)\}")


def fill(prompt: str, question: str, first: str, second: str, reference: str) -> str:
    """What a judge is asked. Braces in the texts themselves, or around other words, are left alone."""
    texts = {"question": question, "answer_a": first, "answer_b": second, "reference": reference}
    return _FIELD.sub(lambda found: texts[found[1]], prompt)


@dataclass(frozen=True)
class Verdict:
    """Probabilities of the answer shown first: where that is the run's, and where it is the other's."""

    run_first: float
    against_first: float

    @property
    def votes(self) -> tuple[Vote, Vote]:
        """The answer that each order prefers."""
        return _vote(self.run_first, "run", "against"), _vote(self.against_first, "against", "run")

    @property
    def flipped(self) -> bool:
        """Whether the order decided."""
        return set(self.votes) == {"run", "against"}

    @property
    def preference(self) -> float:
        """Probability of the run's answer, mean of both orders."""
        return (self.run_first + 1 - self.against_first) / 2

    @property
    def result(self) -> Result:
        """A tie unless both orders agree."""
        if self.votes == ("run", "run"):
            return "win"
        return "loss" if self.votes == ("against", "against") else "tie"

    @property
    def first_chosen(self) -> float:
        """Of the two orders, those that preferred the answer shown first; one that preferred neither is a half."""
        return sum(_share(value) for value in (self.run_first, self.against_first))


def _vote(first: float, shown_first: Vote, shown_second: Vote) -> Vote:
    return "neither" if first == 0.5 else shown_first if first > 0.5 else shown_second


def _share(first: float) -> float:
    return 0.5 if first == 0.5 else float(first > 0.5)
