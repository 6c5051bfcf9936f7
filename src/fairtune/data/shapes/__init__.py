"""Shapes of rows, one file a shape, and how rows of each become examples."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from fairtune.data.examples import Example, Message, digest, make_example
from fairtune.data.shapes import alpaca, labels, messages, multiple_choice, orca, pairs, prompt_completion, text
from fairtune.data.shapes.checks import read_checks
from fairtune.data.shapes.columns import listed, shown
from fairtune.data.shapes.protocol import Reading, Shape
from fairtune.data.sources import Faults, Row
from fairtune.errors import DataError
from fairtune.study import Prompt

# In the order in which a row is tried: those that ask for more columns first.
SHAPES: dict[str, Shape] = {
    module.SHAPE.name: module.SHAPE
    for module in (messages, orca, alpaca, multiple_choice, pairs, prompt_completion, labels, text)
}


def recognise(row: Row, reading: Reading | None = None) -> str:
    """The shape of a row, by its columns.

    Raises:
        DataError: no known shape has these columns.
    """
    reading = reading or Reading()
    for shape in SHAPES.values():
        if _fits(row, shape, reading):
            return shape.name
    known = "; ".join(f"{shape.name}: {', '.join(shape.reads)}" for shape in SHAPES.values())
    raise DataError(
        f"{row.where}: columns {listed(row.columns)} fit no known shape. Known: {known}. Say which of your columns is "
        "which with `columns:` in the task, for example columns: {prompt: my_question, completion: my_answer}"
    )


def to_examples(rows: Iterable[Row], shape: str | None, prompt: Prompt) -> list[Example]:
    """Examples of all rows, none of which may be bad.

    Raises:
        DataError: rows that do not have the shape or have no answer; the first five are told, and how many more.
    """
    faults = Faults()
    examples = list(read_examples(rows, Reading(shape, prompt), faults))
    faults.settle("the rows")
    return examples


def read_examples(rows: Iterable[Row], reading: Reading, faults: Faults) -> Iterator[Example]:
    """Examples one after another; rows that are none are added to ``faults``.

    Raises:
        DataError: the first row has no known shape.
    """
    rows = iter(rows)
    first = next(rows, None)
    if first is None:
        return
    name = reading.shape or recognise(first, reading)
    ids: set[int] = set()
    for row in itertools.chain([first], rows):
        try:
            _require_new_id(row, ids)
            example = _example(row, SHAPES[name], reading)
        except ValueError as error:
            faults.add(row.where, f"{error}" if _fits(row, SHAPES[name], reading) else _other_shape(row, name, reading))
        else:
            faults.used += 1
            yield example


def label_names(rows: Iterable[Row], reading: Reading) -> tuple[str, ...]:
    """The label set of training rows; empty where they have no labels. Rows that have none are for others to tell.

    Raises:
        DataError: more labels than a model can choose from.
    """
    rows = iter(rows)
    first = next(rows, None)
    if first is None or not SHAPES[reading.shape or recognise(first, reading)].needs_labels:
        return ()
    try:
        return labels.label_set(_label_rows(itertools.chain([first], rows), reading))
    except ValueError as error:
        raise DataError(f"{first.where.partition(',')[0]}: {error}") from None


def _label_rows(rows: Iterable[Row], reading: Reading) -> Iterator[list[str]]:
    for row in rows:
        try:
            yield labels.names(_renamed(row.columns, reading.columns))
        except ValueError:
            continue  # told when the row is read as an example


def _example(row: Row, shape: Shape, reading: Reading) -> Example:
    columns = _renamed(row.columns, reading.columns)
    made = _with_system(shape.convert(columns, reading), reading)
    checks, choices = read_checks(columns, reading.columns), shape.choices(columns)
    return replace(made, where=row.where, group=_group(row, reading.group), checks=checks, choices=choices)


def _with_system(turns: list[Message], reading: Reading) -> Example:
    """A row's own system message wins over the task's. The task's may name the labels."""
    system = reading.prompt.system
    if system is None or turns[0].role == "system":
        return make_example(tuple(turns))
    if reading.labels:
        system = system.replace("{labels}", labels.listed(reading.labels))
    return make_example((Message("system", system), *turns), task_system=True)


def _renamed(columns: Mapping[str, Any], names: Mapping[str, str]) -> Mapping[str, Any]:
    """With the shape's names for the columns that the task names, and for those written in capitals.

    The data's own names stay, for templates.
    """
    small = {name.lower(): value for name, value in columns.items() if isinstance(name, str)}
    told = {ours: columns[own] for ours, own in names.items() if own in columns}
    return {**small, **columns, **told}


def _group(row: Row, column: str | None) -> str | None:
    if column is None:
        return None
    value = row.columns.get(column)
    if value is None or isinstance(value, (dict, list)):
        raise ValueError(f"'{column}', the group of the split, is {shown(value)}; there are {listed(row.columns)}")
    return str(value)


def _require_new_id(row: Row, seen: set[int]) -> None:
    """Two rows of one id are two versions of one thing, or a mistake of whoever joined files."""
    own = row.columns.get("id")
    if isinstance(own, bool) or not isinstance(own, (str, int)):
        return
    # Of millions of rows only a hash each is kept.
    known = int(digest(f"{type(own).__name__} {own!r}"), 16)
    if known in seen:
        raise ValueError(f"id {shown(own)} stands in an earlier row already; ids must differ, or leave out the column")
    seen.add(known)


def _fits(row: Row, shape: Shape, reading: Reading) -> bool:
    return shape.fits(_renamed(row.columns, reading.columns), reading.prompt)


def unused(row: Row, reading: Reading) -> list[str]:
    """The row's columns that its shape does not read, as the data name them."""
    columns = _renamed(row.columns, reading.columns)
    used = SHAPES[reading.shape or recognise(row, reading)].used(columns, reading.prompt) or frozenset()
    taken = {name.lower() for name in used} | {own.lower() for own in reading.columns.values()} | {"id"}
    return [str(name) for name in row.columns if str(name).lower() not in taken]


def _other_shape(row: Row, name: str, reading: Reading) -> str:
    """What is told of a row without the columns of the others."""
    missing = [own for own in reading.columns.values() if own not in row.columns]
    if missing:
        return f"column '{missing[0]}', named under `columns:` in the task, is missing; there are {listed(row.columns)}"
    others = [shape.name for shape in SHAPES.values() if _fits(row, shape, reading)]
    looks = f", as of {others[0]}" if others else ""
    needed = " or ".join(sorted("+".join(sorted(known)) for known in SHAPES[name].known)[:3])
    how = "its shape is named in the task" if reading.shape else "recognised from the first row"
    return f"found columns {listed(row.columns)}{looks}; expected {name} ({how}): {needed}"


__all__ = ["SHAPES", "Reading", "Shape", "label_names", "read_examples", "recognise", "to_examples", "unused"]
