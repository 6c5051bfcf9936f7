"""Comma-separated and tab-separated values."""

from __future__ import annotations

import csv
import functools
from collections import Counter
from collections.abc import Iterator

from fairtune.data.formats.stream import MAX_LINE, File, lines
from fairtune.data.rows import Faults, Row
from fairtune.errors import DataError

# What the columns of a file with two columns and no names of its own are called.
PAIR = ("source", "target")
_DELIMITERS = ",;\t|"
_SAMPLE = 20


def comma_rows(file: File, faults: Faults) -> Iterator[Row]:
    """Rows of fields between commas (or semicolons, tabs, bars: what the first line has most of), quoted or not.

    Raises:
        DataError: two columns of one name.
    """
    return _rows(file, faults, _delimiter(file), quoted=True)


def tab_rows(file: File, faults: Faults) -> Iterator[Row]:
    """Rows of fields between tabs. A quotation mark is a character like others, unless lines differ without quoting.

    Raises:
        DataError: two columns of one name.
    """
    return _rows(file, faults, "\t", quoted=not is_tabbed(file.head().decode("utf-8", errors="replace")))


def is_tabbed(text: str) -> bool:
    """Whether every line of a file's beginning has the same number of tabs, at least one."""
    found = [line for line in text.split("\n")[:_SAMPLE] if line.strip()]
    counts = {line.count("\t") for line in (found[:-1] if len(text) >= 2**16 else found)}
    return len(counts) == 1 and min(counts) > 0


def _delimiter(file: File) -> str:
    first = file.head().decode("utf-8", errors="replace").split("\n", 1)[0]
    return max(_DELIMITERS, key=lambda mark: (len(_cells(first, mark)), -_DELIMITERS.index(mark)))


def _cells(line: str, delimiter: str) -> list[str]:
    return next(csv.reader([line], delimiter=delimiter), [])


class _Text:
    """Lines as text, and how many were handed out: a field in quotes may span several."""

    def __init__(self, file: File, faults: Faults) -> None:
        self._lines = lines(file, faults)
        self.number = 0

    def __iter__(self) -> _Text:
        return self

    def __next__(self) -> str:
        self.number, raw = next(self._lines)
        # A wrong byte is told with its row, once it is known which row that is.
        return raw.decode("utf-8", errors="surrogateescape")


def _rows(file: File, faults: Faults, delimiter: str, quoted: bool) -> Iterator[Row]:
    csv.field_size_limit(MAX_LINE)
    text = _Text(file, faults)
    records = csv.reader(
        text, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE, strict=True
    )
    names: tuple[str, ...] | None = None
    while True:
        start = text.number + 1
        try:
            cells = next(records)
        except StopIteration:
            return
        except csv.Error as error:
            faults.add(_where(file, start, text.number), f"found {error}, expected {_expected(names)}")
            continue
        where = _where(file, start, text.number)
        if not any(cell.strip() for cell in cells):
            continue
        if names is None:
            names, is_header = _names(file, cells)
            if is_header:
                continue
        yield from _row(names, cells, where, faults)


def _row(names: tuple[str, ...], cells: list[str], where: str, faults: Faults) -> Iterator[Row]:
    if any("\udc80" <= letter <= "\udcff" for cell in cells for letter in cell):
        faults.add(where, "is not UTF-8; convert the file, for example with iconv")
    elif len(cells) != len(names):
        faults.add(where, f"found {len(cells)} fields, expected {_expected(names)}")
    else:
        yield Row(dict(zip(names, cells, strict=True)), where)


def _where(file: File, start: int, end: int) -> str:
    return f"{file.name}, line {start}" if end <= start else f"{file.name}, lines {start}–{end}"


def _expected(names: tuple[str, ...] | None) -> str:
    return "named columns" if names is None else f"{len(names)} ({', '.join(names)})"


def _names(file: File, cells: list[str]) -> tuple[tuple[str, ...], bool]:
    """The columns' names, and whether the first line told them. Two columns of prose are a pair without names."""
    if len(cells) == 2 and not all(_is_name(cell) for cell in cells):
        return PAIR, False
    names = tuple(cell.strip() or f"column {place}" for place, cell in enumerate(cells, start=1))
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(f"{file.name}: the first line names '{twice[0]}' twice; columns need names of their own")
    return names, True


def _is_name(cell: str) -> bool:
    word = cell.strip().casefold()
    return word in _languages() or word in _WORDS or (word.isascii() and len(word) in (2, 3) and cell.strip().islower())


# Of columns in common use. "Go." beside "Ve." is a row; "question" beside "answer" names two columns.
_WORDS = frozenset(
    {"prompt", "completion", "question", "answer", "query", "response", "instruction", "input", "output", "source"}
    | {"target", "text", "sentence", "label", "labels", "class", "category", "title", "content", "document", "summary"}
)


@functools.cache
def _languages() -> frozenset[str]:
    from babel import Locale

    return frozenset(str(name).casefold() for name in Locale("en").languages.values())
