"""Test items that were trained on, beside the scores that they flatter."""

from __future__ import annotations

from collections.abc import Sequence

from fairtune.records import Leakage, RunRecord

LEAKED = "†"


def leaked_metrics(records: Sequence[RunRecord]) -> frozenset[str]:
    """Metrics of any run whose test items stand in its training or validation data."""
    return frozenset(metric.name for record in records if _leaks(record.leakage) for metric in record.spec.metrics)


def leak_notes(records: Sequence[RunRecord]) -> list[str]:
    """What stands where, once for a study: all runs have the same data."""
    found = next((record.leakage for record in records if record.leakage), None)
    if found is None:
        return []
    notes = [_leak(found)] if _leaks(found) else []
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
    told.append("Every score of a trained run is flattered by them.")
    return " ".join(told)


def _kinds(found: Leakage, part: str) -> str:
    kinds = found.kinds(part, "test")
    return f" [{kinds}]" if kinds else ""
