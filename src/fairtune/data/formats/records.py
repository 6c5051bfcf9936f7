"""Records of a table out of its physical lines, so that a stray quotation mark costs its own line and no other.

A field in quotes may span lines. It is believed where it closes within 16 MiB, as the rules of quoting have it, and its
record has the right number of fields. Where it does not, only the line that opens it is a fault: reading goes on with
the next one. What closes properly may still be a stray mark that met another one, with records in between. It is one
where the line that opens it, the line that closes it and nine tenths of those between are records by themselves, and
that takes at least eight delimiters more: so many rarely stand in the right places of prose by accident. A table in a
field of a table can look like that; it is then a fault, and told. Fewer lines cannot be told from a field that spans
them, nor can lines of a table with one column, which has no delimiters: these are taken as they are written.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from fairtune.data.formats.stream import MAX_LINE

_QUOTE = '"'
_ACCIDENT = 8
_MOSTLY = 0.9
UNCLOSED = "unexpected end of data (a quotation mark opens a field that does not end)"


class Line(NamedTuple):
    """A physical line, with its end."""

    number: int
    text: str


class Lines:
    """Physical lines, which can be handed back to be read again."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self._lines = iter(lines)
        self._held: deque[Line] = deque()

    def __iter__(self) -> Lines:
        return self

    def __next__(self) -> Line:
        return self._held.popleft() if self._held else next(self._lines)

    def back(self, lines: Sequence[Line]) -> None:
        """They come again, before the others."""
        self._held.extendleft(reversed(lines))


@dataclass(frozen=True)
class Dialect:
    """``quoted``: a field may stand in quotation marks, and then hold delimiters and ends of lines."""

    delimiter: str
    quoted: bool


class Record(NamedTuple):
    """Fields of the lines from ``first`` to ``last``; or what is wrong with them, and no fields."""

    first: int
    last: int
    cells: list[str]
    fault: str = ""


class Records:
    """Records out of lines. ``width``: how many fields they have, from when that is known."""

    def __init__(self, lines: Lines, dialect: Dialect, width: int | None = None) -> None:
        self._lines, self._dialect, self.width = lines, dialect, width

    def __iter__(self) -> Records:
        return self

    def __next__(self) -> Record:
        return _record(next(self._lines), self._lines, self._dialect, self.width)


def _record(line: Line, lines: Lines, dialect: Dialect, width: int | None) -> Record:
    text = line.text.rstrip("\r\n")
    if "\r" in text and not (dialect.quoted and _QUOTE in text):
        return Record(line.number, line.number, [], "a carriage return inside a line")
    if not dialect.quoted or _QUOTE not in text:
        return Record(line.number, line.number, text.split(dialect.delimiter))
    return _with_quotes(line, lines, dialect, width)


def _with_quotes(first: Line, lines: Lines, dialect: Dialect, width: int | None) -> Record:
    taken = [first]
    fault, cells = "", []
    csv.field_size_limit(2 * MAX_LINE)
    try:
        cells = next(csv.reader(_texts(taken, lines), delimiter=dialect.delimiter, strict=True))
    except csv.Error as error:
        fault = UNCLOSED if "end of data" in str(error) else str(error)
    if not fault and len(taken) > 1 and _swallows(taken, len(cells), width, dialect):
        fault = f"a quotation mark that runs over the records to line {taken[-1].number}"
    if not fault:
        return Record(first.number, taken[-1].number, cells)
    lines.back(taken[1:])
    return Record(first.number, first.number, [], fault)


def _texts(taken: list[Line], lines: Lines) -> Iterator[str]:
    """Texts of the line that is taken, and of those after it as they are asked for; a line left out ends them."""
    yield taken[0].text
    size = len(taken[0].text)
    for line in lines:
        size += len(line.text)
        if line.number != taken[-1].number + 1 or size > MAX_LINE:
            lines.back([line])
            return
        taken.append(line)
        yield line.text


def _swallows(taken: list[Line], found: int, known: int | None, dialect: Dialect) -> bool:
    """Whether lines that make one record are records by themselves, all but a few."""
    after = taken[1:]
    width = known or _literally(taken[0].text, dialect)
    whole = sum(_fields(line.text, dialect) == width for line in after)
    if known is not None and found != width:
        return whole * 2 >= len(after)
    return (
        len(after) * (width - 1) >= _ACCIDENT
        and whole >= _MOSTLY * len(after)
        and _fields(after[-1].text, dialect) == width
        and _literally(taken[0].text, dialect) == width
    )


def _cells(text: str, dialect: Dialect) -> list[str]:
    try:
        return next(csv.reader([text], delimiter=dialect.delimiter), [])
    except csv.Error:
        return []


def _fields(text: str, dialect: Dialect) -> int:
    return len(_cells(text, dialect))


def _literally(text: str, dialect: Dialect) -> int:
    """Fields of a line whose last quotation mark is a character like others."""
    cells = _cells(text, dialect)
    return len(cells) + cells[-1].count(dialect.delimiter) if cells else 0
