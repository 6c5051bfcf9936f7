"""A table as every format reads it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TextTable:
    """Headings, and rows of cells. A cell is one or more parts that may stand below each other."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[tuple[str, ...], ...], ...]
