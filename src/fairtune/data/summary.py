"""A part of a task in numbers: where its tokens come from, which carry loss, how long it is, what a limit takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fairtune.data.encode import Encoded, Tokenizer
from fairtune.data.examples import Example

_BARS = 12
_LONGEST = 3
# The longest in a hundred share the last bar, or one long row would leave no shape to see.
_WHOLE_SCALE = 99


@dataclass(frozen=True)
class Lost:
    """What a length limit takes away. ``answers``: of the examples, those that keep no supervised token."""

    examples: int
    tokens: int
    supervised: int
    answers: int


@dataclass(frozen=True)
class Bar:
    """Examples of ``low`` to ``high`` tokens, both included; ``high`` is None for all that are longer."""

    low: int
    high: int | None
    count: int


@dataclass(frozen=True)
class PartSummary:
    """Counts of one part, uncut. ``raw``: tokens of the rows' own text. ``windows``: None unless it is plain text."""

    name: str
    examples: int
    windows: int | None
    tokens: int
    raw: int
    supervised: int
    lost: Lost | None
    """None for a part that is never cut."""
    bars: tuple[Bar, ...]
    longest: tuple[tuple[str, int], ...]
    """Ids and tokens."""

    @property
    def template(self) -> int:
        """Tokens that the template and the end of turn add."""
        return self.tokens - self.raw

    @property
    def share(self) -> float:
        """Of all tokens, those that carry loss."""
        return self.supervised / self.tokens if self.tokens else 0.0


def summarise(
    name: str,
    examples: Sequence[Example],
    encoded: Sequence[Encoded],
    read: Sequence[Encoded],
    tokenizer: Tokenizer,
    max_length: int | None,
) -> PartSummary:
    """The numbers of a part.

    Args:
        encoded: the examples as tokens, uncut.
        read: what the model reads: the same, or their windows.
        max_length: tokens that training keeps of each; None for a part that is never cut.
    """
    lengths = [len(item.tokens) for item in encoded]
    order = sorted(range(len(encoded)), key=lambda index: -lengths[index])[:_LONGEST]
    return PartSummary(
        name=name,
        examples=len(examples),
        windows=len(read) if any(example.is_text for example in examples) else None,
        tokens=sum(lengths),
        raw=_raw_tokens(examples, tokenizer),
        supervised=sum(item.answer_tokens for item in read),
        lost=None if max_length is None else _lost(read, max_length),
        bars=bars(lengths),
        longest=tuple((encoded[index].id, lengths[index]) for index in order),
    )


def bars(lengths: Sequence[int]) -> tuple[Bar, ...]:
    """A histogram of round steps; what is longer than nearly all has the last bar."""
    if not lengths:
        return ()
    width = _round_step((float(np.percentile(lengths, _WHOLE_SCALE)) - min(lengths)) / _BARS)
    bins = np.array(lengths) // width
    first, top = int(bins.min()), int(np.percentile(lengths, _WHOLE_SCALE)) // width
    counts = np.bincount(np.minimum(bins, top + 1) - first, minlength=top - first + 1).tolist()
    return tuple(
        Bar((first + index) * width, None if first + index > top else (first + index + 1) * width - 1, count)
        for index, count in enumerate(counts)
    )


def _round_step(step: float) -> int:
    """The next of 1, 2, 5, 10, 20, 50, …"""
    size = 1
    while True:
        for digit in (1, 2, 5):
            if digit * size >= step:
                return digit * size
        size *= 10


def _lost(read: Sequence[Encoded], limit: int) -> Lost:
    long = [item for item in read if len(item.tokens) > limit]
    return Lost(
        examples=len(long),
        tokens=sum(len(item.tokens) - limit for item in long),
        supervised=sum(sum(item.supervised[limit:]) for item in long),
        answers=sum(not any(item.supervised[1:limit]) for item in long),
    )


def _raw_tokens(examples: Sequence[Example], tokenizer: Tokenizer) -> int:
    texts = [message.content for example in examples for message in example.messages]
    return sum(map(len, tokenizer(texts, add_special_tokens=False)["input_ids"])) if texts else 0
