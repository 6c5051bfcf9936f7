"""Comma-separated and tab-separated values."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterator

from fairtune.data.formats.header import names_of
from fairtune.data.formats.layout import ANY, Layout
from fairtune.data.formats.records import Dialect, Line, Lines, Record, Records
from fairtune.data.formats.stream import File, lines
from fairtune.data.rows import Faults, Row

_DELIMITERS = ",;\t|"
_SAMPLE = 50
# Excel's own way to say the delimiter, before the header.
_SAID = re.compile(r'"?sep=(.)"?;*\s*', re.IGNORECASE)
_MOST_LINES = 0.8
# How a byte that is no UTF-8 is kept in a text.
_WRONG_BYTE = re.compile("[\udc80-\udcff]")


def comma_rows(file: File, faults: Faults, layout: Layout = ANY) -> Iterator[Row]:
    """Rows of fields between commas (or semicolons, tabs, bars: what the lines agree on), quoted or not.

    Raises:
        DataError: two columns of one name.
    """
    return _rows(file, faults, layout, "csv")


def tab_rows(file: File, faults: Faults, layout: Layout = ANY) -> Iterator[Row]:
    """Rows of fields between tabs. A quotation mark is a character like others, unless more lines fit with quoting.

    Raises:
        DataError: two columns of one name.
    """
    return _rows(file, faults, layout, "tsv")


def has_header(file: File, kind: str, layout: Layout) -> bool:
    """Whether the first record of a file that holds ``csv`` or ``tsv`` names its columns; recognised or said.

    Raises:
        DataError: two columns of one name, or the file cannot be read.
    """
    for record in _records(file, Faults("skip"), kind):
        if _is_there(record) and not record.fault:
            return names_of(record.cells, layout, kind == "csv", file.name)[1]
    return False


def is_tabbed(found: list[str]) -> bool:
    """Whether at least two lines, and four in five, have the same number of tabs, none before the first word."""
    counts = Counter(0 if line.startswith("\t") else line.count("\t") for line in found if line.strip())
    times = max((times for tabs, times in counts.items() if tabs), default=0)
    return times > 1 and times >= _MOST_LINES * counts.total()


def _commas(file: File) -> Dialect:
    found = [line for line in file.head_lines() if line.strip()]
    said = _SAID.fullmatch(found[0]) if found else None
    if said:
        return Dialect(said[1], quoted=True)
    return Dialect(max(_DELIMITERS, key=lambda mark: _agreement(found, mark)), quoted=True)


def _agreement(found: list[str], delimiter: str) -> tuple[float, int, int]:
    """How many of the first records have the same number of fields, more than one; how many; an earlier mark."""
    records = Records(Lines(Line(*line) for line in enumerate(found)), Dialect(delimiter, quoted=True))
    counts = Counter(len(record.cells) for record in itertools.islice(records, _SAMPLE))
    width, times = max(((w, times) for w, times in counts.items() if w > 1), key=lambda pair: pair[1], default=(0, 0))
    return times / max(1, counts.total()), width, -_DELIMITERS.index(delimiter)


def _tabs(file: File) -> Dialect:
    found = [line for line in file.head_lines() if line.strip()]
    plain, quoted = Dialect("\t", quoted=False), Dialect("\t", quoted=True)
    return quoted if _fitting(found, quoted) > _fitting(found, plain) else plain


def _fitting(found: list[str], dialect: Dialect) -> int:
    """Lines that are part of a record with as many fields as most lines with a tab have."""
    tabs = Counter(line.count("\t") for line in found if "\t" in line)
    width = max(tabs, key=lambda count: tabs[count], default=0) + 1
    records = Records(Lines(Line(*line) for line in enumerate(found)), dialect, width)
    return sum(record.last - record.first + 1 for record in records if len(record.cells) == width)


_DIALECTS: dict[str, Callable[[File], Dialect]] = {"csv": _commas, "tsv": _tabs}


def _rows(file: File, faults: Faults, layout: Layout, kind: str) -> Iterator[Row]:
    names: tuple[str, ...] | None = None
    records = _records(file, faults, kind)
    for record in filter(_is_there, records):
        where = f"{file.name}, line {record.first}"
        if record.last > record.first:
            where = f"{file.name}, lines {record.first}–{record.last}"
        if record.fault:
            faults.add(where, f"found {record.fault}, expected {_expected(names)}")
            continue
        if names is None:
            names, is_header = names_of(record.cells, layout, kind == "csv", file.name)
            records.width = len(names)
            if is_header:
                continue
        yield from _row(names, record.cells, where, faults)


def _records(file: File, faults: Faults, kind: str) -> Records:
    """Records, without Excel's ``sep=``."""
    dialect = _DIALECTS[kind](file)
    # A wrong byte is told with its row, once it is known which row that is.
    read = Lines(Line(number, raw.decode("utf-8", errors="surrogateescape")) for number, raw in lines(file, faults))
    first = next((line for line in read if line.text.strip()), None)
    if first is not None and not (dialect.quoted and _SAID.fullmatch(first.text)):
        read.back([first])
    return Records(read, dialect)


def _is_there(record: Record) -> bool:
    """Whether it is no blank line, nor fields without anything in them."""
    return bool(record.fault) or any(cell.strip() for cell in record.cells)


def _row(names: tuple[str, ...], cells: list[str], where: str, faults: Faults) -> Iterator[Row]:
    if any(map(_WRONG_BYTE.search, cells)):
        faults.add(where, "is not UTF-8; convert the file, for example with iconv")
    elif len(cells) != len(names):
        faults.add(where, f"found {len(cells)} fields, expected {_expected(names)}")
    else:
        yield Row(dict(zip(names, cells, strict=True)), where)


def _expected(names: tuple[str, ...] | None) -> str:
    return "named columns" if names is None else f"{len(names)} ({', '.join(names)})"
