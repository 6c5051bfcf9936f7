"""A document of plain text, cut into what a model can read at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from fairtune.data.cut import items_of
from fairtune.data.encode import Encoded
from fairtune.data.examples import digest
from fairtune.data.items import Items, Numbers
from fairtune.errors import DataError

Decode = Callable[[Sequence[int]], str]


def windows(items: Sequence[Encoded], length: int, decode: Decode) -> Items:
    """Documents cut into windows of at most ``length`` tokens; questions with answers stay as they are.

    A window begins with the token that the one before ended with. So every token of a document but the first is
    predicted exactly once, from 1 to ``length - 1`` tokens before it.

    Args:
        decode: tokens to text, for the reference of a window.

    Raises:
        DataError: a window, or all documents together, too short to predict anything.
    """
    if length < 2:
        raise DataError(f"windows of {length} token predict nothing; raise training.max_length or task.window")
    whole = items_of(items)
    if bool(np.all(whole.prompt_lengths > 0)):
        return whole
    cut = _Windows(whole, length, decode)
    if not len(cut):
        raise DataError("a part of the text has a single token, so there is nothing to predict; give it more")
    return cut


class _Windows(Items):
    """Windows of documents, cut when they are looked at; where each begins follows from the documents' lengths."""

    def __init__(self, items: Items, length: int, decode: Decode) -> None:
        self._items, self._decode = items, decode
        step = length - 1
        documents = items.prompt_lengths == 0
        counts = np.where(documents, np.maximum(items.lengths - 2 + step, 0) // step, 1)
        self._rows = np.repeat(np.arange(len(items)), counts)
        numbers = np.arange(len(self._rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        self._begins: Numbers = numbers * step
        cut = documents[self._rows]
        rest = items.lengths[self._rows] - self._begins
        self.lengths: Numbers = np.where(cut, np.minimum(rest, length), rest)
        self.prompt_lengths: Numbers = np.where(cut, 1, items.prompt_lengths[self._rows])
        self.first_learned: Numbers = np.where(cut, 1, items.first_learned[self._rows])

    def at(self, index: int) -> Encoded:
        """A window, or an example that is no document."""
        row = int(self._rows[index])
        if self._items.prompt_lengths[row] > 0:
            return self._items.at(row)
        tokens = self.tokens_of(index, 0, int(self.lengths[index]))
        learned = (False, *(True,) * (len(tokens) - 1))
        # Two runs see the same item only if the same tokens stand in it: another tokenizer asks something else.
        seen = digest(" ".join(map(str, tokens)))
        return Encoded(self.id_of(index), tokens, learned, 1, seen, self._decode(tokens[1:]))

    def id_of(self, index: int) -> str:
        """The document's id, and where in its tokens the window begins."""
        row = int(self._rows[index])
        name = self._items.id_of(row)
        return name if self._items.prompt_lengths[row] > 0 else f"{name}@{self._begins[index]}"

    def tokens_of(self, index: int, start: int, end: int) -> tuple[int, ...]:
        """Some of its tokens."""
        begin, length = int(self._begins[index]), int(self.lengths[index])
        return self._items.tokens_of(int(self._rows[index]), begin + start, begin + min(end, length))
