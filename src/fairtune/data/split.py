"""Training, validation and test parts that share no question."""

from __future__ import annotations

from collections import Counter

from fairtune.data.examples import Example, Message, digest, leak_key, make_example
from fairtune.errors import DataError


def take(examples: list[Example], amount: float, salt: str) -> tuple[list[Example], list[Example]]:
    """Takes a share (below 1) or a number of examples: ``(taken, left)``.

    Examples that ask the same thing after folding go together, so that no question stands on both sides. Which
    questions are taken is decided by the hash of each, not by their order in a file. A single document of plain text
    gives its end instead, by characters: shuffled pieces would have their neighbours on the other side.

    Raises:
        DataError: nothing would be left.
    """
    if _is_document(examples):
        return _end_of(examples[0], amount, salt)
    keys = [leak_key(example) for example in examples]
    groups = Counter(keys)
    wanted = max(1, round(amount * len(examples))) if amount < 1 else int(amount)
    taken: set[str] = set()
    count = 0
    for key in sorted(groups, key=lambda text: digest(f"{salt}\n{text}")):
        if count >= wanted:
            break
        taken.add(key)
        count += groups[key]
    if len(taken) == len(groups):
        raise DataError(
            f"taking {wanted} of {len(examples)} examples ({len(groups)} different questions) for {salt} leaves none "
            f"to train on; lower `{salt}:` in the task, or add rows"
        )
    keyed = list(zip(keys, examples, strict=True))
    return [example for key, example in keyed if key in taken], [example for key, example in keyed if key not in taken]


def _is_document(examples: list[Example]) -> bool:
    return len(examples) == 1 and examples[0].is_text


def _end_of(document: Example, amount: float, salt: str) -> tuple[list[Example], list[Example]]:
    text = document.answer
    cut = int((1 - amount) * len(text)) if amount < 1 else len(text) - int(amount)
    if not 0 < cut < len(text):
        raise DataError(
            f"taking {amount:g} of a text of {len(text)} characters for {salt} leaves nothing on one side; "
            f"change `{salt}:` in the task, or add text"
        )
    return [_document(text[cut:])], [_document(text[:cut])]


def _document(text: str) -> Example:
    return make_example((Message("assistant", text),))


def at_most(examples: list[Example], limit: int) -> list[Example]:
    """Those with the smallest content hashes, in the order of the file; of a document its first characters."""
    if _is_document(examples):
        return [_document(examples[0].answer[:limit])]
    kept = sorted(range(len(examples)), key=lambda index: (digest(f"limit\n{examples[index].id}"), index))[:limit]
    return [examples[index] for index in sorted(kept)]
