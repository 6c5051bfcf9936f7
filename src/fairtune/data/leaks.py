"""Test items that stand in the training data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fairtune.data.examples import Example, folded, leak_key

# A document rarely stands twice as a whole, its sentences do. Thirteen words in a row are what Brown et al. 2020
# (appendix C) take for a sign that a text was seen. Text written without spaces is thus checked less sharply.
_WORDS = 13


def overlap(train: Iterable[Example], held_out: Iterable[Example]) -> list[str]:
    """Ids of held-out examples whose question, folded, is asked in training too.

    A document of plain text is looked at in pieces of 13 words, ``id@word``, sought anywhere in the training text.
    """
    asked = [piece for example in held_out for piece in _pieces(example, _WORDS)]
    # Only what is sought is kept: a training text has 13 times as many places to begin.
    wanted = {key for _, key in asked}
    found = {key for example in train for _, key in _pieces(example, 1) if key in wanted}
    return [name for name, key in asked if key in found]


def _pieces(example: Example, step: int) -> Iterator[tuple[str, str]]:
    if not example.is_text:
        yield example.id, leak_key(example)
        return
    words = folded(example.answer).split(" ")
    for start in range(0, len(words) - _WORDS + 1, step):
        yield f"{example.id}@{start}", " ".join(words[start : start + _WORDS])
