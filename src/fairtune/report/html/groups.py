"""Lines of the tables: a method, and behind it its seeds."""

from __future__ import annotations

from dataclasses import dataclass

from fairtune.report.collect import Report, Row


@dataclass(frozen=True)
class Group:
    """A line that stands for itself, and the runs whose mean it is."""

    lead: Row
    runs: tuple[Row, ...] = ()


def groups(report: Report) -> list[Group]:
    """In the study's order. Runs of a method that has no mean stand for themselves."""
    cells: dict[str, list[Row]] = {}
    for row in report.rows:
        cells.setdefault(row.spec.cell, []).append(row)
    found: list[Group] = []
    for rows in cells.values():
        mean = next((row for row in rows if row.mean), None)
        runs = tuple(row for row in rows if not row.mean)
        found += [Group(mean, runs)] if mean else [Group(row) for row in runs]
    return found


def seeds_of(group: Group) -> str:
    """``3 seeds``, ``2 of 3 seeds``, ``seed 0``, or that no seed matters."""
    row = group.lead
    if not row.mean:
        return f"seed {row.spec.seed}" if row.spec.method.trains else "not trained"
    done, asked = len(row.entries), len(group.runs)
    return f"{asked} seeds" if done == asked else f"{done} of {asked} seeds"
