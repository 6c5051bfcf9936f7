"""The real command line, in a process of its own."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import warnings
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
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


def inside(*arguments: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The same command in this process, which has torch in memory already: seconds become tenths.

    The processes of runs are forked from one that started with the first of them, and have its environment.
    """
    from fairtune.cli import main

    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.chdir(cwd)
        for name, value in {"COLUMNS": "200", **environment}.items():
            patch.setenv(name, value)
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
    return subprocess.CompletedProcess(arguments, int(ended.value.code or 0), out.getvalue(), err.getvalue())


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
