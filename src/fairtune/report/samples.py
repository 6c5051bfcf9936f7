"""What the models of a study wrote by themselves."""

from __future__ import annotations

from dataclasses import dataclass

from fairtune.errors import RecordError
from fairtune.records import read_lines
from fairtune.report.collect import Report


@dataclass(frozen=True)
class ShownSample:
    """The first sample of a run, under the run's name. ``start`` was given to the model."""

    title: str
    start: str
    text: str


def samples(report: Report) -> list[ShownSample]:
    """One sample a run, where there are any.

    Raises:
        RecordError: a file of samples is damaged.
    """
    shown = []
    for entry in report.entries:
        if entry.ok and entry.folder.samples.exists():
            first = read_lines(entry.folder.samples)[0]
            title = f"{entry.spec.cell}, seed {entry.spec.seed}"
            try:
                shown.append(ShownSample(title, first["start"], first["text"]))
            except KeyError as error:
                raise RecordError(f"{entry.folder.samples}: damaged, a sample lacks {error}") from None
    return shown
