"""Who is in a study's figures: every method has one name, one colour, one mark in all of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from fairtune.records import RunRecord
from fairtune.report.collect import Report, Row
from fairtune.report.figures.palette import Palette
from fairtune.report.names import method_name
from fairtune.report.tables import Entry

_MARKERS = ("o", "s", "^", "D", "v", "P")
_DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (5, 1.5, 1, 1.5)))
_TOLD = 4


@dataclass(frozen=True)
class Method:
    """Runs that differ in their seed alone. ``place``: among trained methods, from 0; None for an untouched model."""

    cell: str
    name: str
    entries: tuple[Entry, ...]
    place: int | None

    def colour(self, palette: Palette) -> str:
        """The same in every figure."""
        return palette.muted if self.place is None else palette.series[self.place % len(palette.series)]

    @property
    def marker(self) -> str:
        """Another one where colours begin again."""
        return "X" if self.place is None else _MARKERS[self._round % len(_MARKERS)]

    @property
    def dash(self) -> object:
        """Another one where colours begin again."""
        return _DASHES[self._round % len(_DASHES)]

    @property
    def _round(self) -> int:
        return (self.place or 0) // 8

    @property
    def finished(self) -> tuple[tuple[Entry, RunRecord], ...]:
        """The runs that have results."""
        return tuple((entry, entry.record) for entry in self.entries if entry.ok and entry.record)

    def numbers(self, of: Callable[[RunRecord], float | None]) -> list[float]:
        """A number of each run that has results, where it is one."""
        found = (of(record) for _, record in self.finished)
        return [number for number in found if number is not None and math.isfinite(number)]


def methods_of(report: Report) -> list[Method]:
    """In the order of the study."""
    cells: dict[str, list[Entry]] = {}
    for entry in report.entries:
        cells.setdefault(entry.spec.cell, []).append(entry)
    specs = [entry.spec for entry in report.entries]
    found: list[Method] = []
    trained = 0
    for cell, entries in cells.items():
        trains = entries[0].spec.method.trains
        found.append(
            Method(cell, plain(method_name(entries[0].spec, specs)), tuple(entries), trained if trains else None)
        )
        trained += trains
    return found


def plain(text: str) -> str:
    """One line, without signs that XML does not know."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())


def seed_rows(report: Report) -> dict[str, list[Row]]:
    """By cell: its single runs that have results, of cells with more than one."""
    found: dict[str, list[Row]] = {}
    for row in report.rows:
        if not row.mean and row.entries[0].ok:
            found.setdefault(row.spec.cell, []).append(row)
    return {cell: rows for cell, rows in found.items() if len(rows) > 1}


def is_number(value: float | None) -> bool:
    """Whether it can be drawn."""
    return value is not None and math.isfinite(value)


def left_out(methods: Iterable[Method]) -> str:
    """A sentence about the runs without results; nothing where there are none."""
    return missing(
        f"{method.name}, seed {entry.spec.seed} ({entry.status.replace('_', ' ')})"
        for method in methods
        for entry in method.entries
        if not entry.ok
    )


def missing(who: Iterable[str], why: str = "") -> str:
    """A sentence that names what is not in a figure; the first few by name."""
    names = list(dict.fromkeys(who))
    if not names:
        return ""
    more = f"; and {len(names) - _TOLD} more" if len(names) > _TOLD else ""
    return f" Not shown: {'; '.join(names[:_TOLD])}{more}{f' ({why})' if why else ''}."


def shortened(sentences: Sequence[str], limit: int = 900) -> str:
    """As many whole sentences as a listener has patience for."""
    told: list[str] = []
    for sentence in sentences:
        if told and len(" ".join([*told, sentence])) > limit:
            return " ".join([*told, f"And {len(sentences) - len(told)} more."])
        told.append(sentence)
    return " ".join(told)
