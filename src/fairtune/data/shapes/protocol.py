"""What a shape is, and what it may know besides the row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fairtune.data.examples import Message
from fairtune.study import Prompt


@dataclass(frozen=True)
class Reading:
    """How rows of a task are read.

    ``shape``: a name out of :data:`~fairtune.data.shapes.SHAPES`, or None to go by the first row. ``columns``: the
    shape's name of a column ▸ the data's own. ``labels``: the label set, in the order of answers. ``group``: the column
    whose rows must stand on one side of a split.
    """

    shape: str | None = None
    prompt: Prompt = field(default_factory=Prompt)
    columns: Mapping[str, str] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    group: str | None = None


@dataclass(frozen=True)
class Shape:
    """``known``: sets of columns, any of which tells this shape. ``reads``: the names that ``columns:`` may map."""

    name: str
    known: tuple[frozenset[str], ...]
    reads: tuple[str, ...]
    convert: Callable[[Mapping[str, Any], Reading], list[Message]]
    """The turns of a row; raises ValueError where it has not this shape."""
    asked: frozenset[str] = frozenset()
    """Columns that need not be there where the task has a template, which may be made of any."""
    needs_labels: bool = False
    choices: Callable[[Mapping[str, Any]], tuple[str, ...]] = lambda columns: ()
    """The answers that a row itself offers to choose from; raises ValueError where they are none."""
    guess: Callable[[Mapping[str, Any]], frozenset[str] | None] = lambda columns: None
    """Columns that tell the shape though their names are not known; None where there are none."""

    def fits(self, columns: Mapping[str, Any], prompt: Prompt) -> bool:
        """Whether a row has the columns."""
        return self.used(columns, prompt) is not None

    def used(self, columns: Mapping[str, Any], prompt: Prompt) -> frozenset[str] | None:
        """The columns that tell the shape, and others that it reads; None where a row has another shape."""
        there = columns.keys() | (self.asked if prompt.template else frozenset())
        known = next((known for known in self.known if known <= there), self.guess(columns))
        return None if known is None else known | {name for name in self.besides if name in columns}

    @property
    def besides(self) -> tuple[str, ...]:
        """Columns that are read where they are there."""
        told = frozenset[str]().union(*self.known)
        return tuple(name for name in self.reads if name not in told)
