"""What a leak check found, for a terminal: a table, and pairs of rows side by side."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fairtune.data import BadRows, LeakPair, Leaks

_SHOWN = 3


def leaked(found: Leaks) -> bool:
    """Whether items that scores come from stand in the training data."""
    return any(found.ids("train", name) for name in found.rows if name not in ("train", "validation"))


def print_leaks(found: Leaks, bad_rows: BadRows, console: Console) -> None:
    """How many rows overlap and in which way, the closest pairs, what was left out, and what may be done."""
    console.print(Text(", ".join(f"{name}: {count:,} rows" for name, count in found.rows.items())))
    if bad_rows.count:
        first = "\n  ".join(bad_rows.listed[:_SHOWN])
        console.print(Text(f"{bad_rows.count:,} rows could not be used and are left out; the first:\n  {first}"))
    if found.overlaps:
        console.print(_overlaps(found))
        console.print(_pairs(found))
    for line in _remarks(found):
        console.print(Text(line))


def _overlaps(found: Leaks) -> Table:
    table = Table(title="Overlaps", title_justify="left", title_style="bold")
    for heading in ("between", "and", "kind"):
        table.add_column(heading, overflow="fold")
    for heading in ("pairs", "rows of the second"):
        table.add_column(heading, justify="right")
    for overlap in found.overlaps:
        pairs = f"{overlap.pairs:,}" if overlap.pairs is not None else "–"
        table.add_row(*map(Text, overlap.between), overlap.kind, pairs, f"{len(overlap.ids):,}")
    return table


def _pairs(found: Leaks) -> Table:
    table = Table(title="The closest", title_justify="left", title_style="bold", show_lines=True)
    table.add_column("kind")
    for heading in ("in the first", "in the second"):
        table.add_column(heading, overflow="fold", ratio=1)
    for overlap in found.overlaps:
        pairs = [pair for pair in found.examples if (pair.between, pair.kind) == (overlap.between, overlap.kind)]
        for pair in pairs[:_SHOWN]:
            table.add_row(_kind(pair), *_sides(pair))
    return table


def _kind(pair: LeakPair) -> str:
    if pair.kind != "near":
        return pair.kind
    return f"{pair.similarity:.2f} inside" if pair.inside else f"{pair.similarity:.2f} near"


def _sides(pair: LeakPair) -> Iterator[Text]:
    for where, name, text in zip(pair.where, pair.ids, pair.texts, strict=True):
        yield Text.assemble((f"{where} ({name})\n", "dim"), text)


def _remarks(found: Leaks) -> Iterator[str]:
    for overlap in found.overlaps:
        if overlap.reason:
            yield f"{overlap.between[0]} and {overlap.between[1]}, {overlap.kind}: not counted, since {overlap.reason}."
    yield f"{found.duplicates:,} training rows say what an earlier one says."
    if found.left_out:
        share = found.left_out / (found.rows["train"] + found.left_out)
        yield (
            f"{found.left_out:,} rows ({share:.0%}) are left out of training, being nearly an item that was taken out "
            "of the same data. Rows that share a passage are kept on one side by a `group`."
        )
    if leaked(found):
        yield (
            "Items that scores come from stand in the training data. `fairtune run` stops at a test file with such "
            "items, unless the study says `allow_leakage: true`."
        )
    elif any(overlap.pairs is None and overlap.between == ("train", "test") for overlap in found.overlaps):
        yield "As far as was looked, no test item stands in the training data."
    else:
        yield "No test item stands in the training data."
