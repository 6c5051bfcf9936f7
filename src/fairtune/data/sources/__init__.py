"""Where rows come from: one file a source, each with ``claims(text)`` and ``read(text, root)``."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from fairtune.data.sources import cldr, jsonl, text
from fairtune.data.sources.rows import Row
from fairtune.errors import DataError


class Source(Protocol):
    """A kind of place that rows come from."""

    def claims(self, text: str) -> bool:
        """Whether the text names a place of this kind."""

    def read(self, text: str, root: Path) -> list[Row]:
        """The rows; relative paths start from ``root``."""


SOURCES: tuple[Source, ...] = (cldr, jsonl, text)


def read_rows(place: str, root: Path) -> list[Row]:
    """Rows from whichever source claims the place.

    Raises:
        DataError: no source does, or the rows cannot be read.
    """
    for source in SOURCES:
        if source.claims(place):
            return source.read(place, root)
    raise DataError(f"'{place}': unknown kind of data; give a .jsonl or .txt file, or cldr:SOURCE-TARGET")


__all__ = ["SOURCES", "Row", "Source", "read_rows"]
