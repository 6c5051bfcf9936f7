"""How each label of a task was predicted, run by run."""

from __future__ import annotations

from fairtune.report.cells import TextTable
from fairtune.report.collect import Report
from fairtune.report.names import format_score
from fairtune.report.tables import Entry


def label_tables(report: Report) -> list[TextTable]:
    """A table for every run that has one, in the order of the label set."""
    return [table for entry in report.entries if (table := _table(entry))]


def _table(entry: Entry) -> TextTable | None:
    """From the first metric that has it: those of one run read the same answers."""
    values = entry.record.metrics.values() if entry.record else ()
    found = next((value.per_label for value in values if value.per_label), None)
    if found is None:
        return None
    rows = tuple(
        (
            (label,),
            *((format_score(number),) for number in (scores.precision, scores.recall, scores.f1)),
            (str(scores.support),),
        )
        for label, scores in found.items()
    )
    headings = ("label", "precision", "recall", "F1", "items")
    return TextTable(f"{entry.spec.cell}, seed {entry.spec.seed}", headings, rows)
