"""Test items that were trained on, beside the scores that they flatter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fairtune.records import Leakage, RunRecord

LEAKED = "†"


def leaked_metrics(records: Sequence[RunRecord]) -> frozenset[str]:
    """Metrics of any run, and numbers of its benchmarks, whose items stand in its training or validation data."""
    own = {metric.name for record in records if _leaks(record.leakage) for metric in record.spec.metrics}
    return frozenset(own.union(*(_leaked_numbers(record) for record in records)))


def _leaked_numbers(record: RunRecord) -> set[str]:
    leaked = {note.name for note in record.benchmarks if note.leakage and note.leakage.ids}
    return {score.name for choice in record.spec.benchmarks if choice.name in leaked for score in choice.scores}


def leak_notes(records: Sequence[RunRecord]) -> list[str]:
    """What stands where, once for a study: all runs have the same data."""
    found = next((record.leakage for record in records if record.leakage), None)
    notes = [_leak(found)] if found and _leaks(found) else []
    notes += _benchmark_leaks(records)
    if found is None:
        return notes
    if found.validation_in_train:
        notes.append(
            f"{found.validation_in_train} validation items stand in the training data, so the epoch that is kept was "
            "chosen on what was learned."
        )
    if found.left_out:
        notes.append(f"{found.left_out} rows were left out of training, being nearly a test or validation item.")
    return notes


def _leaks(leakage: Leakage | None) -> bool:
    return leakage is not None and bool(leakage.test_in_train or leakage.test_in_validation)


def _leak(found: Leakage) -> str:
    told = [
        (
            f"{LEAKED} Leak: {found.test_in_train} test items are asked in training too{_kinds(found, 'train')}, "
            f"{found.test_in_validation} in validation{_kinds(found, 'validation')} (ids in record.json; of plain "
            "text, pieces of 13 words)."
        )
    ]
    if found.allowed and found.test_in_train:
        told.append("The study allows it: `allow_leakage: true`.")
    told.append("Every score of the task of a trained run is flattered by them.")
    return " ".join(told)


def _benchmark_leaks(records: Sequence[RunRecord]) -> Iterator[str]:
    """Of each benchmark once."""
    told: set[str] = set()
    for note in (note for record in records for note in record.benchmarks if note.leakage):
        found = note.leakage
        if found is None or note.name in told:
            continue
        told.add(note.name)
        if found.ids:
            kinds = ", ".join(f"{count:,} {kind}" for kind, count in found.kinds.items())
            yield (
                f"{LEAKED} Leak: of {note.items:,} items of {note.name}, {found.in_train:,} are asked in training too, "
                f"{found.in_validation:,} in validation [{kinds}] (ids in record.json). Every score of {note.name} of "
                "a trained run is flattered by them."
            )
        if found.reason:
            yield f"Items of {note.name} that nearly stand in the training data are not known: {found.reason}."


def _kinds(found: Leakage, part: str) -> str:
    kinds = found.kinds(part, "test")
    return f" [{kinds}]" if kinds else ""
