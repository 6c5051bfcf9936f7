"""A task's rows as three parts, and the hash that stands for them."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from fairtune.data.corpus import Examples
from fairtune.data.examples import Example, digest
from fairtune.data.leaks import kept
from fairtune.data.shapes import Reading, label_names, read_examples
from fairtune.data.shapes.labels import parse
from fairtune.data.sources import Faults, Layout, read_rows
from fairtune.data.split import at_most, take
from fairtune.errors import DataError
from fairtune.study import Task


@dataclass(frozen=True)
class BadRows:
    """Rows that were left out: how many, and the first of them with place and reason."""

    count: int = 0
    listed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Splits:
    """The three parts of a task. ``labels``: the label set, in the order of answers, where rows have labels."""

    train: Examples
    validation: Examples
    test: Examples
    labels: tuple[str, ...] = ()
    bad_rows: BadRows = BadRows()
    left_out: int = 0
    """Training rows that nearly ask what an item asks that was taken out of the same data."""

    @property
    def parts(self) -> Mapping[str, Examples]:
        """By name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    @property
    def plain_text(self) -> bool:
        """Whether documents are scored: there are no answers to generate and compare."""
        return any(example.is_text for example in self.test)

    @property
    def own_choices(self) -> bool:
        """Whether every test row says what its answer is chosen from."""
        return all(example.choices for example in self.test)

    @functools.cached_property
    def label_sets(self) -> bool:
        """Whether some row of any part has several labels, or none; False where rows have no labels."""
        rows = (example for part in self.parts.values() for example in part)
        return (
            bool(self.labels)
            and not self.own_choices
            and any(len(parse(example.answer, self.labels)[0]) != 1 for example in rows)
        )

    def fingerprint(self) -> str:
        """Hash over ids (content), tests and choices of every part in order, whatever files these lie in."""
        return self._fingerprint

    @functools.cached_property
    def _fingerprint(self) -> str:
        found = hashlib.sha256()
        for place, (name, example) in enumerate(
            (name, example) for name, part in self.parts.items() for example in part
        ):
            # Tests and choices decide the score: with others, a run is another.
            tests = f" {example.checks.digest}" if example.checks else ""
            choices = f" {digest(json.dumps(example.choices))}" if example.choices else ""
            found.update(f"{chr(10) if place else ''}{name} {example.id}{tests}{choices}".encode())
        return found.hexdigest()[:16]


def load_splits(task: Task, root: Path) -> Splits:
    """Reads and splits a task's data. The test part is taken first, then validation, from what is left.

    Raises:
        DataError: data that cannot be read, have no answers, or are too few to split.
    """
    reader = _Reader(task, root)
    train = reader.examples(task.train)
    test, train = _part(reader, task.test, "test", train)
    validation, train = _part(reader, task.validation, "validation", train)
    train, left_out = _apart(task, train, {"test": test, "validation": validation})
    if task.limit is not None:
        train = at_most(train, task.limit)
    train, validation, test = (part.named_once() for part in (train, validation, test))
    return Splits(train, validation, test, reader.reading.labels, reader.bad_rows, left_out)


def _apart(task: Task, train: Examples, parts: Mapping[str, Examples]) -> tuple[Examples, int]:
    """Training rows that are not nearly what was taken out of them, and how many are."""
    stays = kept(train, *(part for name, part in parts.items() if is_taken(task, name)))
    if not stays.any():
        raise DataError(
            f"task '{task.name}': every training row is nearly the same as one of the test or validation part; "
            "give these parts as files"
        )
    return train.select(stays), int((~stays).sum())


def is_taken(task: Task, part: str) -> bool:
    """Whether a part is taken out of the training data, rather than given."""
    return not isinstance(getattr(task, part), str)


def load_held_out(task: Task, place: str, root: Path) -> Examples:
    """Another held-out set, read as the task's own rows are.

    Raises:
        DataError: it cannot be read.
    """
    return _Reader(task, root).examples(place).named_once()


class _Reader:
    """Reads a task's places the same way, and keeps account of what had to be left out."""

    def __init__(self, task: Task, root: Path) -> None:
        self._task, self._root = task, root
        self.name = task.name
        self.bad_rows = BadRows()
        used = {*task.columns.values(), *([task.group] if task.group else [])}
        self._layout = Layout(task.format, task.header, frozenset(used))
        self.reading = Reading(task.shape, task.prompt, task.columns, (), task.group)
        self.reading = replace(self.reading, labels=self._labels())

    def examples(self, place: str) -> Examples:
        """Every example of a place.

        Raises:
            DataError: it cannot be read, or has bad rows and the task does not say to skip them.
        """
        faults = Faults(self._task.on_bad_rows)
        found = Examples.of(self._read(place, faults))
        faults.settle(place)
        before = self.bad_rows
        self.bad_rows = BadRows(before.count + faults.count, before.listed + tuple(faults.listed))
        return found

    def _read(self, place: str, faults: Faults) -> Iterator[Example]:
        return read_examples(read_rows(place, self._root, faults, self._layout), self.reading, faults)

    def _labels(self) -> tuple[str, ...]:
        """As the task tells them, in a list or a file with a line each; else all that the training rows have."""
        given = self._task.labels
        if given is None:
            faults = Faults("skip")  # told when the rows are read as examples
            return label_names(read_rows(self._task.train, self._root, faults, self._layout), self.reading)
        if not isinstance(given, str):
            return given
        rows = list(read_rows(given, self._root, layout=Layout("text")))
        found = tuple(line.strip() for row in rows for line in row.columns["text"].split("\n") if line.strip())
        if len(set(found)) < len(found):
            raise DataError(f"{given}: a label stands there twice")
        return found


def _part(reader: _Reader, asked: str | float, name: str, train: Examples) -> tuple[Examples, Examples]:
    if isinstance(asked, str):
        return reader.examples(asked), train
    try:
        return take(train, asked, name)
    except DataError as error:
        raise DataError(f"task '{reader.name}': {error}") from None
