"""The real command line, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests import tiny

FAIRTUNE = [sys.executable, "-m", "fairtune"]


def fairtune(
    *arguments: object, cwd: Path, timeout: float = 300, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end."""
    return subprocess.run(
        [*FAIRTUNE, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "COLUMNS": "200", **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def study(folder: Path, model: Path | str, rows: int = 24, **changes: Any) -> Path:
    """A small study over rows of its own; ``changes`` replace whole keys, and None removes one."""
    tiny.write_jsonl(folder / "rows.jsonl", tiny.rows(rows))
    content: dict[str, Any] = {
        "name": "small",
        "task": {
            "name": "rows",
            "train": "rows.jsonl",
            "validation": 3,
            "test": 5,
            "metrics": ["perplexity", "bleu", "chrf", "exact_match"],
            "max_new_tokens": 6,
        },
        "models": [str(model)],
        "methods": ["base", {"full": {"learning_rate": 1e-3}}, {"lora": {"rank": 2}}],
        "training": {"epochs": 1, "batch_size": 4},
        "seeds": [0],
        "budget": {"device": "cpu"},
    }
    content = {key: value for key, value in {**content, **changes}.items() if value is not None}
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path


def records(folder: Path, name: str = "small") -> dict[str, dict[str, Any]]:
    """The records of a study, by method and seed."""
    found = [json.loads(path.read_text()) for path in (folder / "runs" / name).glob("*/record.json")]
    return {f"{record['spec']['method']['name']} {record['spec']['seed']}": record for record in found}
