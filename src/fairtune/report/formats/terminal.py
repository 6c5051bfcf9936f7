"""Tables for a terminal, narrow or wide."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fairtune.report.cells import TextTable, tables
from fairtune.report.collect import Report


def print_report(report: Report, console: Console) -> None:
    """Quality, cost, failures and notes."""
    for table in tables(report):
        console.print(_rich(table, console))
    for entry in report.entries:
        if entry.status != "ok":
            why = entry.reason or "not run yet"
            console.print(
                Text(f"{entry.spec.cell} seed {entry.spec.seed} ({entry.spec.run_id}): {entry.status}: {why}")
            )
    for note in report.notes:
        console.print(Text(note, style="dim"))


def _rich(table: TextTable, console: Console) -> Table:
    drawn = Table(title=table.title, title_justify="left", title_style="bold", padding=(0, 1))
    for index, heading in enumerate(table.headings):
        drawn.add_column(heading, justify="left" if index < 2 else "right", overflow="fold")
    separator = " " if _width(table, " ") <= console.width else "\n"
    for row in table.rows:
        drawn.add_row(*(Text(separator.join(cell)) for cell in row))
    return drawn


def _width(table: TextTable, separator: str) -> int:
    cells = [table.headings, *([separator.join(cell) for cell in row] for row in table.rows)]
    return sum(max(len(row[index]) for row in cells) + 3 for index in range(len(table.headings))) + 1
