"""Markdown, for a README or an appendix."""

from __future__ import annotations

from fairtune.report.cells import TextTable, tables
from fairtune.report.collect import Report
from fairtune.report.labels import label_tables
from fairtune.report.samples import ShownSample, samples


def render(report: Report) -> str:
    """The tables, what failed, the notes, how labels were predicted, and what models wrote by themselves."""
    parts = [f"# {report.study}", *(f"## {table.title}\n\n{_table(table)}" for table in tables(report))]
    failed = [entry for entry in report.entries if entry.status != "ok"]
    if failed:
        lines = [
            f"* {entry.spec.cell}, seed {entry.spec.seed}: {entry.status}{f': {entry.reason}' if entry.reason else ''}"
            for entry in failed
        ]
        parts.append("## Without results\n\n" + "\n".join(lines))
    parts += list(report.notes)
    labels = label_tables(report)
    if labels:
        parts.append("## Labels\n\n" + "\n\n".join(f"{table.title}:\n\n{_table(table, 1)}" for table in labels))
    written = samples(report)
    if written:
        parts.append("## Samples\n\n" + "\n\n".join(_sample(found) for found in written))
    return "\n\n".join(parts) + "\n"


def _sample(found: ShownSample) -> str:
    """The text as it is: indented, so that nothing in it is read as markdown."""
    if found.problem:
        return f"{found.run}: {found.problem}"
    lines = (found.start + found.text).split("\n")
    return f"{found.run}, from {found.start!r}:\n\n" + "\n".join(f"    {line}" for line in lines)


def _table(table: TextTable, texts: int = 2) -> str:
    """``texts``: columns, from the first, that hold no numbers."""
    lines = [_line(table.headings), _line(["---"] * texts + ["---:"] * (len(table.headings) - texts))]
    lines += [_line([" ".join(cell) for cell in row]) for row in table.rows]
    return "\n".join(lines)


def _line(cells: list[str] | tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
