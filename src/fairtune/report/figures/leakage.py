"""What parts of the data share, by how sharply it is the same."""

from __future__ import annotations

from functools import partial
from typing import Any

from fairtune.records import Leakage, RunRecord
from fairtune.report.collect import Report
from fairtune.report.figures.bars import rows_of
from fairtune.report.figures.cast import plain, shortened
from fairtune.report.figures.figure import Figure
from fairtune.report.figures.palette import Palette
from fairtune.report.figures.sheet import legend, legend_height, ticks, write

_KINDS = ("exact", "normalised", "near")


def leakage(report: Report) -> list[Figure]:
    """Where anything stands in two parts of the data."""
    records = [entry.record for entry in report.entries if entry.record]
    found = next((record.leakage for record in records if record.leakage), None)
    rows = {**(_of_parts(found) if found else {}), **_of_benchmarks(records)}
    if not rows:
        return []
    left = f" {found.left_out:,} rows were left out of training for that." if found and found.left_out else ""
    caption = (
        "Each bar counts the rows of a part that stand in another part too: word for word (exact), but for case, "
        f"white space and punctuation (normalised), or nearly (near).{left}"
    )
    told = [f"{name}: {', '.join(f'{count:,} {kind}' for kind, count in row.items())}." for name, row in rows.items()]
    return [Figure("leakage", "Leaks between parts of the data", caption, shortened(told), partial(_draw, rows))]


def _of_parts(found: Leakage) -> dict[str, dict[str, int]]:
    rows: dict[str, dict[str, int]] = {}
    for overlap in found.overlaps:
        if overlap.ids:
            first, second = overlap.between
            name = f"{second} in {first}" if first != second else f"twice in {first}"
            row = rows.setdefault(name, {})
            row[overlap.kind] = row.get(overlap.kind, 0) + len(overlap.ids)
    return rows


def _of_benchmarks(records: list[RunRecord]) -> dict[str, dict[str, int]]:
    rows: dict[str, dict[str, int]] = {}
    for note in (note for record in records for note in record.benchmarks):
        if note.leakage and note.leakage.kinds:
            rows.setdefault(f"{plain(note.name)} in training data", dict(note.leakage.kinds))
    return rows


def _draw(rows: dict[str, dict[str, int]], palette: Palette) -> Any:
    kinds = [kind for kind in _KINDS if any(kind in row for row in rows.values())]
    kinds += sorted({kind for row in rows.values() for kind in row} - set(kinds))
    # From what is surely the same to what is nearly so.
    colours = {kind: palette.series[place % len(palette.series)] for place, kind in enumerate(kinds)}
    items = [("s", colours[kind], kind) for kind in kinds]
    laid = rows_of(list(rows), palette, below=legend_height(items, 430), aside=34)
    largest = max(sum(row.values()) for row in rows.values())
    laid.frame.set_xlim(0, largest * 1.02)
    ticks(laid.frame.xaxis, 5, whole=True)
    for place, row in enumerate(rows.values()):
        start = 0
        for kind in kinds:
            if row.get(kind):
                laid.frame.barh(place + 0.5, row[kind], 0.56, left=start, color=colours[kind], zorder=3)
                start += row[kind]
        laid.frame.text(
            start + largest * 0.02, place + 0.5, f"{start:,}", color=palette.ink, fontsize=10, va="center", zorder=4
        )
    write(laid.on, laid.left + laid.width, laid.beyond - 14, "rows", palette, ha="right")
    legend(laid.on, 12, laid.beyond, 430, items, palette)
    return laid.on
