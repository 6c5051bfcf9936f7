"""How well each label is predicted, by method."""

from __future__ import annotations

from functools import partial

from fairtune.records import LabelScores, RunRecord
from fairtune.report.collect import Report
from fairtune.report.figures.cast import Method, left_out, methods_of, missing, plain, shortened
from fairtune.report.figures.figure import Figure
from fairtune.report.figures.heat import COLUMNS, ROWS, Heat, draw_heat
from fairtune.report.figures.uplift import numbered, titled
from fairtune.report.names import format_score


def labels(report: Report) -> list[Figure]:
    """Where a metric of labels was scored."""
    tables = {method.cell: _tables(method) for method in methods_of(report)}
    methods = [method for method in methods_of(report) if tables[method.cell]]
    support: dict[str, int] = {}
    for method in methods:
        for table in tables[method.cell]:
            for label, scores in table.items():
                support[label] = max(support.get(label, 0), scores.support)
    shown = set(sorted(support, key=lambda label: -support[label])[:ROWS])
    names = [label for label in support if label in shown]
    few = f" Only the {ROWS} most frequent of {len(support)} labels are shown." if len(support) > ROWS else ""
    caption = (
        "Each cell is a label's F1 (the harmonic mean of precision and recall) as a mean over the seeds of a method; "
        f"darker is higher, and in brackets are the items that have the label.{few}{_absent(report, methods)}"
    )
    groups = [methods[first : first + COLUMNS] for first in range(0, len(methods), COLUMNS)]
    figures = []
    for place, group in enumerate(groups):
        values = tuple(tuple(_mean(tables[method.cell], label) for method in group) for label in names)
        rows = tuple(f"{plain(label)} ({support[label]})" for label in names)
        heat = Heat("F1 by label", rows, tuple(method.name for method in group), values)
        told = [_said(heat, column) for column in range(len(group))]
        title = titled("F1 of every label", place, len(groups))
        figures.append(Figure(numbered("labels", place), title, caption, shortened(told), partial(draw_heat, heat)))
    return figures


def _absent(report: Report, shown: list[Method]) -> str:
    absent = [each.name for each in methods_of(report) if each.finished and each not in shown]
    return left_out(methods_of(report)) + missing(absent, "no scores of labels")


def _tables(method: Method) -> list[dict[str, LabelScores]]:
    return [table for _, record in method.finished if (table := _table(record))]


def _table(record: RunRecord) -> dict[str, LabelScores] | None:
    """From the first metric that has it: those of one run read the same answers."""
    return next((value.per_label for value in record.metrics.values() if value.per_label), None)


def _mean(tables: list[dict[str, LabelScores]], label: str) -> float | None:
    found = [table[label].f1 for table in tables if label in table]
    return sum(found) / len(found) if found else None


def _said(heat: Heat, column: int) -> str:
    """The best and the worst label of a method."""
    known = [(line[column], name) for line, name in zip(heat.values, heat.rows, strict=True)]
    numbers = sorted((value, name) for value, name in known if value is not None)
    if not numbers:
        return f"{heat.columns[column]}: no labels."
    (low, worst), (high, best) = numbers[0], numbers[-1]
    return f"{heat.columns[column]}: F1 from {format_score(low)} for {worst} to {format_score(high)} for {best}."
