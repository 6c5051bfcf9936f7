"""What every source gives: rows, each knowing where it came from; and a list of those that cannot be used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from fairtune.errors import DataError

OnBadRows = Literal["stop", "skip"]
# A record lists so many; all are counted.
_LISTED = 1_000
_TOLD = 5


@dataclass(frozen=True)
class Row:
    """Columns by name; ``where`` is for error messages, as in ``train.jsonl, line 7``."""

    columns: Mapping[str, Any]
    where: str


@dataclass
class Faults:
    """Rows that cannot be used: where each stands, what was found there, and what was expected.

    ``used`` counts the rows that can. Nothing is lost without being counted here.
    """

    on_bad_rows: OnBadRows = "stop"
    used: int = 0
    count: int = 0
    listed: list[str] = field(default_factory=list)

    def add(self, where: str, what: str) -> None:
        """Notes one row."""
        self.count += 1
        if len(self.listed) < _LISTED:
            self.listed.append(f"{where}: {what}")

    def settle(self, place: str) -> None:
        """Ends the reading of one place.

        Raises:
            DataError: rows were bad and none may be left out, or no row is left.
        """
        if not self.used and not self.count:
            raise DataError(f"{place}: is empty; rows are expected")
        if self.count and (self.on_bad_rows == "stop" or not self.used):
            advice = "" if not self.used else "; mend them, or leave them out with `on_bad_rows: skip` in the task"
            raise DataError(f"{place}: {self._counted()} cannot be used{advice}\n  {self._told()}")

    def _counted(self) -> str:
        rows = "row" if self.count == 1 else "rows"
        return f"{self.count:,} {rows} of {self.count + self.used:,}"

    def _told(self) -> str:
        more = self.count - _TOLD
        lines = self.listed[:_TOLD] + ([f"… and {more:,} more"] if more > 0 else [])
        return "\n  ".join(lines)
