"""Training, validation and test parts that share no question."""

from __future__ import annotations

from collections import Counter

from fairtune.data.examples import Example, digest, leak_key
from fairtune.errors import DataError


def take(examples: list[Example], amount: float, salt: str) -> tuple[list[Example], list[Example]]:
    """Takes a share (below 1) or a number of examples: ``(taken, left)``.

    Examples that ask the same thing after folding go together, so that no question stands on both sides. Which
    questions are taken is decided by the hash of each, not by their order in a file.

    Raises:
        DataError: nothing would be left.
    """
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


def at_most(examples: list[Example], limit: int) -> list[Example]:
    """Those with the smallest content hashes, in the order of the file."""
    kept = sorted(range(len(examples)), key=lambda index: (digest(f"limit\n{examples[index].id}"), index))[:limit]
    return [examples[index] for index in sorted(kept)]
