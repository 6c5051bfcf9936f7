"""What ``fairtune data show`` found, as one JSON document."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from fairtune.data.shown import Shown, ShownExample
from fairtune.data.summary import PartSummary


def json_of(shown: Shown) -> str:
    """``{place, model, max_length, part, other_models, summary, findings, examples}``."""
    document = {
        "place": shown.place,
        "model": shown.model,
        "max_length": shown.max_length,
        "part": shown.part,
        "other_models": list(shown.others),
        "summary": {part.name: _summary(part) for part in shown.parts},
        "findings": [asdict(finding) for finding in shown.findings],
        "examples": [_example(example) for example in shown.examples],
    }
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"


def _summary(part: PartSummary) -> dict[str, Any]:
    counts = {key: value for key, value in asdict(part).items() if key not in ("name", "bars", "longest")}
    return {
        **counts,
        "template": part.template,
        "share": part.share,
        "lengths": [asdict(bar) for bar in part.bars],
        "longest": [{"id": name, "tokens": tokens} for name, tokens in part.longest],
    }


def _example(example: ShownExample) -> dict[str, Any]:
    return {"id": example.id, "kept": example.kept, "tokens": [asdict(piece) for piece in example.pieces]}
