"""A metric is a few numbers per item, and a function of their sums.

Perplexity is a function of summed losses and token counts; BLEU of summed n-gram matches; an accuracy of summed
hits. Said this way, one bootstrap gives every metric its interval, one permutation test compares any two runs, and
what is stored for an item is enough to do both again later.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Trial:
    """A generated answer that was run as a program: whether it passed its tests, and how it ended."""

    output: str
    passed: bool
    reason: str


@dataclass(frozen=True)
class Outcome:
    """What a run did on one item. ``output`` is generated text, never teacher-forced."""

    id: str
    prompt_hash: str
    reference: str
    loss: float | None = None
    """Negative log-likelihood of the reference, in nats, summed over its tokens."""
    loss_tokens: int | None = None
    hits: int | None = None
    """Of these tokens, those that were the likeliest at their place."""
    words: int | None = None
    """Of plain text: words that end in what these tokens stand for."""
    bytes: int | None = None
    """Of plain text: UTF-8 bytes of what these tokens stand for."""
    output: str | None = None
    output_tokens: int | None = None
    stopped: bool | None = None
    trials: tuple[Trial, ...] = ()
    """Of a program: this answer and the further samples, each run with its tests."""
    cluster: str | None = None
    """What the item shares with others, so that they are not independent: its document, or the group of its row."""


@dataclass(frozen=True)
class Facts:
    """What is known of a task when a study is read.

    ``labels``: its label set, in the order of answers. ``choices``: whether every test item has choices of its own.
    ``scored``: answers are chosen by likelihood, not written.
    ``tests``: whether every test item has tests to be run with an answer. ``samples``: answers that are written to
    each. ``drawn``: whether these are drawn at random.
    """

    plain_text: bool = False
    labels: tuple[str, ...] = ()
    choices: bool = False
    scored: bool = False
    tests: bool = False
    samples: int = 1
    drawn: bool = False


class Metric(ABC):
    """One file a metric, or a small family. Importing it is light."""

    name: str
    version: int
    """Raised when the meaning of the number changes."""
    unit: str
    higher_is_better: bool | None
    """None where neither way is better by itself."""
    needs: Literal["likelihood", "generation", "benchmark"]
    statistics: tuple[str, ...]
    """Names of the numbers kept for each item."""
    proportion: bool = False
    """True where the value is a share of items, so that Wilson's interval holds."""
    of_labels: bool = False
    """Whether its numbers are those of the task's label set: then :meth:`with_labels` makes another metric."""
    runs_code: bool = False
    """Whether it is made of generated answers that are run with their tests."""
    reads: frozenset[str] = frozenset()
    """Fields of an outcome, of ``hits``, ``words`` and ``bytes``, that are counted only where a metric reads them."""
    sparse: bool = False
    """Whether most of an item's numbers are 0, which its line in ``examples/`` then leaves out."""
    description: str
    formula: str
    source: str
    """The paper, or the program whose numbers these are."""

    @abstractmethod
    def item(self, outcome: Outcome) -> tuple[float, ...]:
        """The item's numbers, in the order of :attr:`statistics`."""

    @abstractmethod
    def aggregate(self, sums: Floats) -> Floats:
        """``(..., len(statistics))`` sums over items to ``(...)`` values."""

    def signature(self) -> str | None:
        """The underlying library's own description of the computation, if it has one."""
        return None

    def with_labels(self, labels: tuple[str, ...]) -> Metric:
        """The metric for a task of this label set: another one only where its numbers are those of labels."""
        return self

    def fits(self, task: Facts) -> str | None:
        """Why it cannot be had for a task; None where it can."""
        if self.needs == "generation" and task.plain_text:
            return "compares generated answers with references, and plain text has no answers"
        return None

    def objection(self, reference: str) -> str | None:
        """What is wrong with the reference of an item, which makes its number meaningless; None where nothing is."""
        return None

    def by_label(self, sums: Floats) -> dict[str, dict[str, float]] | None:
        """``(len(statistics),)`` sums over items to what is known of each label; None where there are no labels."""
        return None


def answer_of(outcome: Outcome) -> str:
    """The generated answer.

    Raises:
        ValueError: there is none.
    """
    if outcome.output is None:
        raise ValueError(f"item {outcome.id} has no generated answer")
    return outcome.output


def ratio(sums: Floats) -> Floats:
    """The first of two sums over the second; not a number where the second is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        value: Floats = sums[..., 0] / sums[..., 1]
    return value
