"""JSON: a list of objects, by itself or as the one such list in an object; or objects one after another. Read whole."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from fairtune.data.formats.layout import ANY, Layout
from fairtune.data.formats.stream import File
from fairtune.data.rows import Faults, Row
from fairtune.errors import DataError

_SPACE = re.compile(r"\s*")
_EXPECTED = "expected a list of objects with named columns"


def rows(file: File, faults: Faults, layout: Layout = ANY) -> Iterator[Row]:
    """A row an object of the list.

    Raises:
        DataError: the file is not JSON, or holds no such list. (Which of its rows are whole cannot be known then.)
    """
    for number, item in enumerate(_list_in(file, _read(file)), start=1):
        where = f"{file.name}, item {number}"
        if isinstance(item, dict):
            yield Row(item, where)
        else:
            faults.add(where, f"found {type(item).__name__}, expected an object with named columns")


def is_rows(value: Any) -> bool:
    """Whether it is a list of objects."""
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _read(file: File) -> Any:
    with file.open() as stream:
        raw = stream.read()
    if not raw.strip():
        return []
    try:
        values = list(_values(raw.decode("utf-8-sig")))
        return values[0] if len(values) == 1 else values
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{file.name}, line {line}: is not UTF-8 (byte 0x{raw[error.start]:02x}); convert it, as with iconv"
        ) from None
    except json.JSONDecodeError as error:
        raise DataError(
            f"{file.name}, line {error.lineno}: not JSON ({error.msg} at column {error.colno}), {_EXPECTED}"
        ) from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file.name}: not JSON that can be read ({error}), {_EXPECTED}") from None


def _values(text: str) -> Iterator[Any]:
    """Usually one; programs that print JSON for people write object after object."""
    decoder = json.JSONDecoder()
    place = _after_space(text, 0)
    while place < len(text):
        value, place = decoder.raw_decode(text, place)
        yield value
        place = _after_space(text, place)


def _after_space(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    return found.end() if found else place


def _list_in(file: File, value: Any) -> list[Any]:
    if isinstance(value, list):
        return value
    lists = [name for name, item in value.items() if is_rows(item)] if isinstance(value, dict) else []
    if len(lists) != 1:
        found = f"an object with {', '.join(map(str, value)) or 'nothing in it'}" if isinstance(value, dict) else value
        raise DataError(f"{file.name}: found {found!s:.200}, {_EXPECTED}")
    found_list: list[Any] = value[lists[0]]
    return found_list
