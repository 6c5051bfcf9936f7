"""What fits: training examples cut to a length, scored ones to their last answer, and a look at the model's context."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fairtune.data.encode import Encoded
from fairtune.data.items import Derived, Items, Joined, Numbers
from fairtune.data.tokens.table import TokenTable
from fairtune.errors import DataError


@dataclass(frozen=True)
class Cut:
    """What a length limit took away."""

    examples: int
    tokens: int


def items_of(encoded: Sequence[Encoded]) -> Items:
    """The examples as they are, or as a table where they are a plain list."""
    return encoded if isinstance(encoded, Items) else TokenTable.of(encoded)


def join(first: Items, more: Sequence[Encoded]) -> Items:
    """All of the first, then the others."""
    return Joined(first, items_of(more)) if len(more) else first


def lengths_of(encoded: Sequence[Encoded]) -> list[int]:
    """Tokens of each example."""
    if isinstance(encoded, Items):
        lengths: list[int] = encoded.lengths.tolist()
        return lengths
    return [len(item.tokens) for item in encoded]


def cut_to(encoded: Sequence[Encoded], max_length: int) -> tuple[Items, Cut]:
    """Training examples no longer than ``max_length`` tokens, and what that cost.

    Raises:
        DataError: a prompt leaves no room for even one token of its answer.
    """
    items = items_of(encoded)
    hopeless = np.flatnonzero(items.first_learned >= np.minimum(items.lengths, max_length))
    if len(hopeless):
        raise DataError(
            f"{len(hopeless)} training examples have prompts that fill training.max_length={max_length} "
            f"(longest prompt: {items.prompt_lengths[hopeless].max()} tokens; first: {items.id_of(int(hopeless[0]))}); "
            "raise max_length or shorten the prompts"
        )
    lost = np.maximum(items.lengths - max_length, 0)
    cut = Cut(int(np.count_nonzero(lost)), int(lost.sum()))
    return (Shortened(items, max_length) if cut.examples else items), cut


class Shortened(Derived):
    """Items without what lies beyond a length."""

    def __init__(self, items: Items, length: int) -> None:
        super().__init__(items)
        self._length = length
        self.lengths: Numbers = np.minimum(items.lengths, length)
        self.prompt_lengths: Numbers = np.minimum(items.prompt_lengths, length)
        self.first_learned: Numbers = np.minimum(items.first_learned, self.lengths)

    def at(self, index: int) -> Encoded:
        """The beginning of an example."""
        item, length = self._items.at(index), self._length
        if len(item.tokens) <= length:
            return item
        return replace(
            item,
            tokens=item.tokens[:length],
            supervised=item.supervised[:length],
            prompt_length=min(item.prompt_length, length),
        )


def only_last_answer(item: Encoded) -> Encoded:
    """For scoring: earlier answers of a conversation are part of its prompt."""
    start = item.prompt_length
    return replace(item, supervised=(False,) * start + item.supervised[start:])


def require_context(encoded: Sequence[Encoded], room: int, context: int | None) -> None:
    """Checks that every prompt and answer, and ``room`` new tokens, fit the model's context.

    Raises:
        DataError: some do not.
    """
    if context is None:
        return
    items = items_of(encoded)
    # The last token of an answer is predicted, never read.
    needed = np.maximum(items.lengths - 1, items.prompt_lengths + room)
    beyond = np.flatnonzero(needed > context)
    if len(beyond):
        first = int(beyond[0])
        raise DataError(
            f"example {items.id_of(first)} needs {needed[first]} tokens (prompt {items.prompt_lengths[first]}, up to "
            f"{room} new ones) and the model's context holds {context}; shorten the prompt, lower task.max_new_tokens "
            "(for plain text: task.window and training.max_length), or take another model"
        )
