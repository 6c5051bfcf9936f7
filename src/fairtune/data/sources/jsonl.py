"""JSON Lines: one object a line, UTF-8."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fairtune.data.sources.rows import Row, text_of
from fairtune.errors import DataError

SUFFIXES = (".jsonl", ".ndjson")


def claims(text: str) -> bool:
    """Whether ``text`` names a JSON Lines file."""
    return text.lower().endswith(SUFFIXES)


def read(text: str, root: Path) -> list[Row]:
    """The rows of a file; ``root`` is what a relative path starts from.

    Raises:
        DataError: no such file, not UTF-8, no rows, or a line that is not a JSON object (all such lines told).
    """
    path = root / Path(text).expanduser()
    rows: list[Row] = []
    wrong: list[str] = []
    for number, line in enumerate(text_of(path).split("\n"), start=1):
        if line.strip():
            _read_line(line, Row({}, f"{path.name}, line {number}"), rows, wrong)
    if wrong:
        more = f"\n  … and {len(wrong) - 5} more lines" if len(wrong) > 5 else ""
        raise DataError(f"{path}: each line must be one JSON object\n  " + "\n  ".join(wrong[:5]) + more)
    if not rows:
        raise DataError(f"{path}: is empty; one JSON object a line is expected")
    return rows


def _read_line(line: str, row: Row, rows: list[Row], wrong: list[str]) -> None:
    try:
        columns: Any = json.loads(line)
    except json.JSONDecodeError as error:
        wrong.append(f"{row.where}: not JSON ({error.msg} at column {error.colno})")
        return
    if isinstance(columns, dict):
        rows.append(Row(columns, row.where))
    else:
        wrong.append(f"{row.where}: found {type(columns).__name__}, expected an object with named columns")
