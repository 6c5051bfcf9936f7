"""Everything that ``fairtune data show`` shows, as plain data."""

from __future__ import annotations

from dataclasses import dataclass

from fairtune.data.diagnose import Finding
from fairtune.data.summary import PartSummary
from fairtune.data.visible import Piece


@dataclass(frozen=True)
class ShownExample:
    """An example, or a window of plain text, token by token. Training keeps the first ``kept`` tokens."""

    id: str
    pieces: tuple[Piece, ...]
    kept: int

    @property
    def lost_supervised(self) -> int:
        """Supervised tokens behind the cut."""
        return sum(piece.supervised for piece in self.pieces[self.kept :])

    @property
    def supervised(self) -> int:
        """Supervised tokens before the cut."""
        return sum(piece.supervised for piece in self.pieces[: self.kept])


@dataclass(frozen=True)
class Shown:
    """Data as one model reads them. ``part``: the one that is examined, and that the examples are from.

    ``others``: further models of the study, which may read them otherwise.
    """

    place: str
    model: str
    max_length: int
    part: str
    parts: tuple[PartSummary, ...]
    findings: tuple[Finding, ...]
    examples: tuple[ShownExample, ...]
    others: tuple[str, ...] = ()
