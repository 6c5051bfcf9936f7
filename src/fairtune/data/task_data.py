"""A task's rows as three parts, and the hash that stands for them."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from fairtune.data.examples import Example
from fairtune.data.leaks import kept
from fairtune.data.shapes import to_examples
from fairtune.data.sources import read_rows
from fairtune.data.split import at_most, take
from fairtune.errors import DataError
from fairtune.study import Task


@dataclass(frozen=True)
class Splits:
    """The three parts of a task."""

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    left_out: int = 0
    """Training rows that nearly ask what an item asks that was taken out of the same data."""

    @property
    def plain_text(self) -> bool:
        """Whether documents are scored: there are no answers to generate and compare."""
        return any(example.is_text for example in self.test)

    def fingerprint(self) -> str:
        """Hash over ids (content) of every part in order; the same for the same content in any file."""
        parts = ("train", self.train), ("validation", self.validation), ("test", self.test)
        text = "\n".join(f"{name} {example.id}" for name, part in parts for example in part)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def load_splits(task: Task, root: Path) -> Splits:
    """Reads and splits a task's data. The test part is taken first, then validation, from what is left.

    Raises:
        DataError: data that cannot be read, have no answers, or are too few to split.
    """
    train = _examples(task, task.train, root)
    test, train = _part(task, task.test, "test", train, root)
    validation, train = _part(task, task.validation, "validation", train, root)
    train, left_out = _apart(task, train, {"test": test, "validation": validation})
    if task.limit is not None:
        train = at_most(train, task.limit)
    return Splits(_named_once(train), _named_once(validation), _named_once(test), left_out)


def _apart(task: Task, train: list[Example], parts: Mapping[str, list[Example]]) -> tuple[list[Example], int]:
    """Training rows that are not nearly what was taken out of them, and how many are."""
    stays = kept(train, [row for name, part in parts.items() if is_taken(task, name) for row in part])
    if not stays.any():
        raise DataError(
            f"task '{task.name}': every training row is nearly the same as one of the test or validation part; "
            "give these parts as files"
        )
    return list(itertools.compress(train, stays)), int((~stays).sum())


def is_taken(task: Task, part: str) -> bool:
    """Whether a part is taken out of the training data, rather than given."""
    return not isinstance(getattr(task, part), str)


def load_held_out(task: Task, place: str, root: Path) -> tuple[Example, ...]:
    """Another held-out set, read as the task's own rows are.

    Raises:
        DataError: it cannot be read.
    """
    return _named_once(_examples(task, place, root))


def _part(
    task: Task, asked: str | float, name: str, train: list[Example], root: Path
) -> tuple[list[Example], list[Example]]:
    if isinstance(asked, str):
        return _examples(task, asked, root), train
    try:
        return take(train, asked, name)
    except DataError as error:
        raise DataError(f"task '{task.name}': {error}") from None


def _examples(task: Task, source: str, root: Path) -> list[Example]:
    return to_examples(read_rows(source, root), task.shape, task.prompt)


def _named_once(examples: list[Example]) -> tuple[Example, ...]:
    """Repeated rows stay, as ``id``, ``id-2``, …: dropping them would change what the user asked for."""
    seen: Counter[str] = Counter()
    named = []
    for example in examples:
        seen[example.id] += 1
        repeated = seen[example.id] > 1
        named.append(replace(example, id=f"{example.id}-{seen[example.id]}") if repeated else example)
    return tuple(named)
