"""Markdown, for a README or an appendix."""

from __future__ import annotations

from fairtune.report.cells import TextTable, tables
from fairtune.report.collect import Report


def render(report: Report) -> str:
    """The two tables, what failed, and the notes."""
    parts = [f"# {report.study}", *(f"## {table.title}\n\n{_table(table)}" for table in tables(report))]
    failed = [entry for entry in report.entries if entry.status != "ok"]
    if failed:
        lines = [f"* {entry.spec.cell}, seed {entry.spec.seed}: {entry.status}" for entry in failed]
        parts.append("## Without results\n\n" + "\n".join(lines))
    parts += list(report.notes)
    return "\n\n".join(parts) + "\n"


def _table(table: TextTable) -> str:
    lines = [_line(table.headings), _line(["---", "---"] + ["---:"] * (len(table.headings) - 2))]
    lines += [_line([" ".join(cell) for cell in row]) for row in table.rows]
    return "\n".join(lines)


def _line(cells: list[str] | tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
