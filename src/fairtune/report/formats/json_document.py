"""JSON: the records as they are, and the comparisons."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from fairtune.records import kept_loss
from fairtune.report import predicted
from fairtune.report.collect import Report
from fairtune.report.tables import Entry


def render(report: Report) -> str:
    """``{study, runs, comparisons, judgements, predictions, trials, missing, leaked, notes}``.

    ``leaked``: metrics whose items are trained on. ``predictions``: what each run was to take, and took.
    """
    document = {
        "study": report.study,
        "runs": [entry.record.model_dump(mode="json") for entry in report.entries if entry.record],
        "comparisons": [asdict(comparison) for comparison in report.comparisons],
        "judgements": [found.as_json() for found in report.judged],
        "predictions": [predicted.as_json(entry.record) for entry in report.entries if entry.record],
        "trials": [_trial(entry) for entry in report.trials],
        "missing": [
            {"run_id": entry.spec.run_id, "status": entry.status, "problem": entry.problem}
            for entry in report.entries
            if not entry.record
        ],
        "leaked": [name for name in report.metrics if name in report.leaked],
        "notes": list(report.notes),
    }
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"


def _trial(entry: Entry) -> dict[str, Any]:
    """What was tried, and the validation loss by which it was compared; None where it has none."""
    trial, found = entry.spec.trial, entry.record.selection if entry.record else None
    return {
        "run_id": entry.spec.run_id,
        "cell": entry.spec.cell,
        "number": trial.number if trial else None,
        "values": trial.values if trial else {},
        "validation_loss": kept_loss(found) if found else None,
        "status": entry.status,
        "reason": entry.reason,
    }
