"""A document of plain text, cut into what a model can read at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from fairtune.data.encode import Encoded
from fairtune.data.examples import digest
from fairtune.errors import DataError


def windows(items: Sequence[Encoded], length: int, decode: Callable[[Sequence[int]], str]) -> list[Encoded]:
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
    cut = [window for item in items for window in _cut(item, length, decode)]
    if items and not cut:
        raise DataError("a part of the text has a single token, so there is nothing to predict; give it more")
    return cut


def _cut(item: Encoded, length: int, decode: Callable[[Sequence[int]], str]) -> Iterator[Encoded]:
    if item.prompt_length > 0:
        yield item
        return
    learned = (False, *(True,) * (length - 1))
    for start in range(0, len(item.tokens) - 1, length - 1):
        tokens = item.tokens[start : start + length]
        # Two runs see the same item only if the same tokens stand in it: another tokenizer asks something else.
        seen = digest(" ".join(map(str, tokens)))
        yield Encoded(f"{item.id}@{start}", tokens, learned[: len(tokens)], 1, seen, decode(tokens[1:]))
