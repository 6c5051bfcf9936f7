"""Plain text, UTF-8: a file is one document."""

from __future__ import annotations

from pathlib import Path

from fairtune.data.sources.rows import Row, text_of
from fairtune.errors import DataError

SUFFIX = ".txt"


def claims(text: str) -> bool:
    """Whether ``text`` names a file of plain text."""
    return text.lower().endswith(SUFFIX)


def read(text: str, root: Path) -> list[Row]:
    """One row, ``{text}``, white space kept as it is.

    Raises:
        DataError: no such file, not UTF-8, or nothing but white space.
    """
    path = root / Path(text).expanduser()
    content = text_of(path)
    if not content.strip():
        raise DataError(f"{path}: is empty; plain text is expected")
    return [Row({"text": content}, path.name)]
