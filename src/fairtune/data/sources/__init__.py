"""Where rows come from: one file a source, each with ``claims`` and ``read``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from fairtune.data.formats import ANY, Layout
from fairtune.data.rows import Faults, OnBadRows, Row
from fairtune.data.sources import cldr, files, hub
from fairtune.errors import DataError


class Source(Protocol):
    """A kind of place that rows come from."""

    def claims(self, place: str, root: Path) -> bool:
        """Whether the text names a place of this kind."""

    def read(self, place: str, root: Path, faults: Faults, layout: Layout) -> Iterator[Row]:
        """Rows one after another; relative paths start from ``root``. What cannot be read is added to ``faults``."""


SOURCES: tuple[Source, ...] = (cldr, hub, files)


def read_rows(place: str, root: Path, faults: Faults | None = None, layout: Layout = ANY) -> Iterator[Row]:
    """Rows from whichever source claims the place.

    Args:
        faults: takes what cannot be read, and is then to be settled by the caller; without it nothing may be bad.
        layout: what is known of how files hold rows; the rest is recognised.

    Raises:
        DataError: no source claims the place, it is not there, or rows cannot be read.
    """
    noted = faults or Faults()
    for row in _source(place, root).read(place, root, noted, layout):
        noted.used += faults is None
        yield row
    if faults is None:
        noted.settle(place)


def without_header(place: str, root: Path, layout: Layout = ANY) -> tuple[str, ...]:
    """Names of the tables in a place whose first line was found to be a row; none where a place is no table.

    Raises:
        DataError: as of :func:`read_rows`.
    """
    return files.without_header(place, root, layout) if _source(place, root) is files else ()


def _source(place: str, root: Path) -> Source:
    for source in SOURCES:
        if source.claims(place, root):
            return source
    raise DataError(
        f"'{place}': no such file in {root.resolve()}; paths start from the folder of the study or task file. Give a "
        "file, a folder, hub:OWNER/NAME, or cldr:SOURCE-TARGET"
    )


__all__ = ["SOURCES", "Faults", "Layout", "OnBadRows", "Row", "Source", "read_rows", "without_header"]
