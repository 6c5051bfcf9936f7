"""What the models of a study wrote by themselves."""

from __future__ import annotations

from dataclasses import dataclass

from fairtune.errors import RecordError
from fairtune.records import RunFolder, read_lines
from fairtune.report.collect import Report


@dataclass(frozen=True)
class ShownSample:
    """A run's first sample: ``start`` was given to the model, ``text`` came from it. Or the problem with it."""

    run: str
    start: str = ""
    text: str = ""
    problem: str | None = None


def samples(report: Report) -> list[ShownSample]:
    """One sample a run, of those that have any. A damaged file costs its sample, not the report."""
    return [
        _first(f"{entry.spec.cell}, seed {entry.spec.seed}", entry.folder)
        for entry in report.entries
        if entry.ok and entry.folder.samples.exists()
    ]


def _first(run: str, folder: RunFolder) -> ShownSample:
    try:
        sample = read_lines(folder.samples)[0]
        return ShownSample(run, str(sample["start"]), str(sample["text"]))
    except (RecordError, IndexError, KeyError, TypeError) as error:
        return ShownSample(run, problem=f"{folder.samples}: cannot be read ({error})")
