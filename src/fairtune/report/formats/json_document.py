"""JSON: the records as they are, and the comparisons."""

from __future__ import annotations

import json
from dataclasses import asdict

from fairtune.report import predicted
from fairtune.report.collect import Report


def render(report: Report) -> str:
    """``{study, runs, comparisons, judgements, predictions, missing, leaked, notes}``.

    ``leaked``: metrics whose items are trained on. ``predictions``: what each run was to take, and took.
    """
    document = {
        "study": report.study,
        "runs": [entry.record.model_dump(mode="json") for entry in report.entries if entry.record],
        "comparisons": [asdict(comparison) for comparison in report.comparisons],
        "judgements": [found.as_json() for found in report.judged],
        "predictions": [predicted.as_json(entry.record) for entry in report.entries if entry.record],
        "missing": [
            {"run_id": entry.spec.run_id, "status": entry.status, "problem": entry.problem}
            for entry in report.entries
            if not entry.record
        ],
        "leaked": [name for name in report.metrics if name in report.leaked],
        "notes": list(report.notes),
    }
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"
