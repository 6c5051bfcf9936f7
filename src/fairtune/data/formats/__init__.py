"""How a file holds rows: one file a format, each with ``SUFFIXES`` and ``rows(file, faults)``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from fairtune.data.formats import delimited, json_lines, json_list, parquet, plain_text
from fairtune.data.formats.stream import File
from fairtune.data.rows import Faults, Row
from fairtune.errors import DataError

Reader = Callable[[File, Faults], Iterator[Row]]
FORMATS: dict[str, Reader] = {
    "jsonl": json_lines.rows,
    "json": json_list.rows,
    "csv": delimited.comma_rows,
    "tsv": delimited.tab_rows,
    "parquet": parquet.rows,
    "text": plain_text.rows,
}
_BY_SUFFIX = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
}


def format_of(file: File) -> str:
    """A file's format, by its suffix where that settles it, else by its first bytes.

    Raises:
        DataError: it is no text, or cannot be read.
    """
    head = file.head()
    if head.startswith(parquet.MAGIC):
        return "parquet"
    if file.suffix in {".csv", ".tsv", ".parquet", ".pq"}:
        return _BY_SUFFIX[file.suffix]
    text = head.decode("utf-8", errors="replace")
    if _is_list(text):
        return "json"
    if file.suffix in _BY_SUFFIX:
        return _BY_SUFFIX[file.suffix]
    if text.lstrip().startswith("{"):
        return "jsonl" if _first_line_is_row(text) else "json"
    if b"\0" in head:
        raise DataError(f"{file.name}: is not text; give a file of {', '.join(FORMATS)}, packed or not")
    if file.suffix == ".json":
        return "json"
    return "tsv" if delimited.is_tabbed(text) else "text"


def _is_list(text: str) -> bool:
    """A list of objects; a text may begin with a bracket too."""
    start = text.lstrip()
    return start.startswith("[") and start[1:].lstrip()[:1] in {"{", "]"}


def _first_line_is_row(text: str) -> bool:
    try:
        found = json.loads(text.lstrip().split("\n", 1)[0])
    except (ValueError, RecursionError):
        return False
    return not any(json_list.is_rows(value) for value in found.values())


__all__ = ["FORMATS", "File", "format_of"]
