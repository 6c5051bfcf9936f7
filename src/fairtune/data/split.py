"""Training, validation and test parts that share no question, and no group."""

from __future__ import annotations

import numpy as np

from fairtune.data.corpus import HASHES, Examples, Hashes
from fairtune.data.examples import Example, Message, leak_key, make_example
from fairtune.errors import DataError


def take(examples: Examples, amount: float, salt: str) -> tuple[Examples, Examples]:
    """Takes a share (below 1) or a number of examples: ``(taken, left)``.

    Examples of one group (of one question, after folding, where the task names no group) go together, so that none
    stands on both sides. A share takes those whose hash falls below it: rows that are added later move none of the old
    ones to the other side. A number takes those with the smallest hashes. Neither looks at the order of a file.
    A single document of plain text gives its end instead, by characters: shuffled pieces would have their neighbours on
    the other side.

    Raises:
        DataError: nothing would be left.
    """
    if _is_document(examples):
        return _end_of(examples[0], amount, salt)
    hashes = examples.hashes(lambda example: f"{salt}\n{_key(example)}")
    chosen = hashes < amount * HASHES if amount < 1 else _smallest(hashes, int(amount))
    if not chosen.any():
        chosen = hashes == hashes.min()
    if chosen.all():
        wanted = f"{amount:.0%}" if amount < 1 else f"{amount:g}"
        raise DataError(
            f"taking {wanted} of {len(examples)} examples ({len(np.unique(hashes))} different questions or groups) for "
            f"{salt} leaves none to train on; lower `{salt}:` in the task, or add rows"
        )
    return examples.select(chosen), examples.select(~chosen)


def _key(example: Example) -> str:
    return leak_key(example) if example.group is None else f"group {example.group}"


def _smallest(hashes: Hashes, wanted: int) -> np.typing.NDArray[np.bool_]:
    """Whole groups in the order of their hashes, until there are enough examples."""
    found, places, sizes = np.unique(hashes, return_inverse=True, return_counts=True)
    before = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    chosen: np.typing.NDArray[np.bool_] = (before < wanted)[places]
    return chosen if len(found) else np.zeros(0, dtype=bool)


def _is_document(examples: Examples) -> bool:
    return len(examples) == 1 and examples[0].is_text


def _end_of(document: Example, amount: float, salt: str) -> tuple[Examples, Examples]:
    text = document.answer
    cut = int((1 - amount) * len(text)) if amount < 1 else len(text) - int(amount)
    if not 0 < cut < len(text):
        raise DataError(
            f"taking {amount:g} of a text of {len(text)} characters for {salt} leaves nothing on one side; "
            f"change `{salt}:` in the task, or add text"
        )
    return _document(text[cut:]), _document(text[:cut])


def _document(text: str) -> Examples:
    return Examples([make_example((Message("assistant", text),))])


def at_most(examples: Examples, limit: int) -> Examples:
    """Those with the smallest content hashes, in the order of the file; of a document its first characters."""
    if _is_document(examples):
        return _document(examples[0].answer[:limit])
    order = np.argsort(examples.hashes(lambda example: f"limit\n{example.id}"), kind="stable")
    return examples.select(np.sort(order[:limit]))
