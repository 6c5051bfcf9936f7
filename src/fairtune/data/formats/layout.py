"""What a task says of how its files hold rows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Layout:
    """``format``: a name out of FORMATS. ``header``: whether the first line of a table names its columns.

    Either is recognised where it is None. ``columns``: the data's own names that the task uses; a first line with one
    of them is a header.
    """

    format: str | None = None
    header: bool | None = None
    columns: frozenset[str] = frozenset()


ANY = Layout()
