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


def windows(items: Sequence[Encoded], length: int, decode: Decode, stride: int | None = None) -> Items:
    """Documents cut into windows of at most ``length`` tokens; questions with answers stay as they are.

    A window begins with the token that the one before ended with. So every token of a document but the first is
    predicted exactly once, from 1 to ``length - 1`` tokens before it.

    Args:
        decode: tokens to text, for the reference of a window.
        stride: tokens that a window after the first adds. It begins as many tokens behind the one before, and those
            that it shares with it are context: each token is then predicted from ``length - stride`` to
            ``length - 1`` tokens before it, at a document's beginning from all there are. ``length - 1``, the most
            that leaves none out, if absent or more.

    Raises:
        DataError: a window, or all documents together, too short to predict anything.
    """
    if length < 2:
        raise DataError(f"windows of {length} token predict nothing; raise training.max_length or task.window")
    whole = items_of(items)
    if bool(np.all(whole.prompt_lengths > 0)):
        return whole
    cut = Windows(whole, length, decode, min(stride or length - 1, length - 1))
    if not len(cut):
        raise DataError("a part of the text has a single token, so there is nothing to predict; give it more")
    return cut


class Windows(Items):
    """Windows of documents, cut when they are looked at; where each begins follows from the documents' lengths."""

    def __init__(self, items: Items, length: int, decode: Decode, step: int) -> None:
        self._items, self._decode = items, decode
        documents = items.prompt_lengths == 0
        # One, and another for every step that the document goes on; none where there is nothing to predict.
        more = np.maximum(items.lengths - length + step - 1, 0) // step
        counts = np.where(documents, np.where(items.lengths > 1, 1 + more, 0), 1)
        self._rows = np.repeat(np.arange(len(items)), counts)
        numbers = np.arange(len(self._rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        self._begins: Numbers = numbers * step
        cut = documents[self._rows]
        rest = items.lengths[self._rows] - self._begins
        self.lengths: Numbers = np.where(cut, np.minimum(rest, length), rest)
        context = np.where(numbers > 0, length - step, 1)
        self.prompt_lengths: Numbers = np.where(cut, context, items.prompt_lengths[self._rows])
        self.first_learned: Numbers = np.where(cut, context, items.first_learned[self._rows])

    def at(self, index: int) -> Encoded:
        """A window, or an example that is no document."""
        row = int(self._rows[index])
        if self._items.prompt_lengths[row] > 0:
            return self._items.at(row)
        tokens = self.tokens_of(index, 0, int(self.lengths[index]))
        start = int(self.prompt_lengths[index])
        learned = (False,) * start + (True,) * (len(tokens) - start)
        # Two runs see the same item only if the same tokens stand in it, and are asked: another tokenizer, or another
        # stride, asks something else.
        asked = "" if start == 1 else f"{start}: "
        seen = digest(asked + " ".join(map(str, tokens)))
        return Encoded(self.id_of(index), tokens, learned, start, seen, self._decode(tokens[start:]))

    def id_of(self, index: int) -> str:
        """The document's id, and where in its tokens the window begins."""
        row = int(self._rows[index])
        name = self._items.id_of(row)
        return name if self._items.prompt_lengths[row] > 0 else f"{name}@{self._begins[index]}"

    def tokens_of(self, index: int, start: int, end: int) -> tuple[int, ...]:
        """Some of its tokens."""
        begin, length = int(self._begins[index]), int(self.lengths[index])
        return self._items.tokens_of(int(self._rows[index]), begin + start, begin + min(end, length))

    def scored(self, index: int) -> tuple[int, int]:
        """The row of the document, and the place in its tokens of the first that the window predicts."""
        return int(self._rows[index]), int(self._begins[index] + self.prompt_lengths[index])

    def document_tokens(self, row: int) -> tuple[int, ...]:
        """All tokens of a document."""
        return self._items.tokens_of(row, 0, int(self._items.lengths[row]))
