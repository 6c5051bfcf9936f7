"""How a file holds rows: one file a format, each with ``rows(file, faults, layout)``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from fairtune.data.formats import delimited, json_lines, json_list, parquet, plain_text
from fairtune.data.formats.layout import ANY, Layout
from fairtune.data.formats.stream import File
from fairtune.data.rows import Faults, Row
from fairtune.errors import DataError

Reader = Callable[[File, Faults, Layout], Iterator[Row]]
FORMATS: dict[str, Reader] = {
    "jsonl": json_lines.rows,
    "json": json_list.rows,
    "csv": delimited.comma_rows,
    "tsv": delimited.tab_rows,
    "parquet": parquet.rows,
    "text": plain_text.rows,
}
# Of files meant as data. A file of another suffix is data too, where none of the others has one of these.
SUFFIXES = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".txt": "text",
}
_SURE = {".csv", ".tsv", ".parquet", ".pq"}
# Beyond this, a row over several lines is not sought.
_LONGEST = 2**16


def format_of(file: File) -> str:
    """A file's format, by its suffix where that settles it, else by its first bytes.

    Raises:
        DataError: it is no text, or cannot be read.
    """
    head = file.head()
    if head.startswith(parquet.MAGIC):
        return "parquet"
    if file.suffix in _SURE:
        return SUFFIXES[file.suffix]
    text = head.decode("utf-8", errors="replace").lstrip()
    if _is_list(text):
        return "json"
    if text.startswith("{"):
        return _format_of_objects(file, text)
    if SUFFIXES.get(file.suffix) == "jsonl":
        return "jsonl"
    if b"\0" in head:
        raise DataError(f"{file.name}: is not text; give a file of {', '.join(FORMATS)}, packed or not")
    if file.suffix == ".json":
        return "json"
    return "tsv" if delimited.is_tabbed(file.head_lines()) else "text"


def _is_list(text: str) -> bool:
    """A list of objects; a text may begin with a bracket too."""
    return text.startswith("[") and text[1:].lstrip()[:1] in {"{", "]"}


def _format_of_objects(file: File, text: str) -> str:
    """A row a line, or else JSON over several. A file of lines may have a broken first one."""
    first = text.replace("\r", "\n").split("\n", 1)[0]
    if SUFFIXES.get(file.suffix) == "jsonl":
        return "json" if _goes_on(first, text) else "jsonl"
    return "jsonl" if _is_row(first) else "json"


def _is_row(line: str) -> bool:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return not any(json_list.is_rows(value) for value in found.values())


def _goes_on(first: str, text: str) -> bool:
    """Whether the first object ends in a later line than it begins, or lies open there and is cut off by the head."""
    try:
        return json.JSONDecoder().raw_decode(text)[1] > len(first)
    except (ValueError, RecursionError):
        return len(text) > _LONGEST // 2 and first.strip() == "{"


__all__ = ["ANY", "FORMATS", "SUFFIXES", "File", "Layout", "format_of"]
