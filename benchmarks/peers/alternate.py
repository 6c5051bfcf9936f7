"""Sides in turn, each in a process of its own, on one workload: what each took, and what it answered."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from peers.measure import heard

SCRIPT = Path(__file__).with_name("scored.py")


def one(side: str, workload: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """What a side took, and its answers.

    Raises:
        RuntimeError: it failed; with the end of what it printed.
    """
    with tempfile.TemporaryDirectory() as folder:
        asked, answers = Path(folder) / "asked.json", Path(folder) / "answers.json"
        asked.write_text(json.dumps(workload))
        done = subprocess.run(
            [sys.executable, str(SCRIPT), side, str(asked), str(answers)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{side} failed on {workload['name']}:\n{done.stderr[-2000:]}")
        return heard(done.stdout), json.loads(answers.read_text())


def in_turn(sides: Sequence[str], workload: dict[str, Any], rounds: int) -> dict[str, tuple[list[dict[str, Any]], Any]]:
    """Measurements of every round and the last answers, by side."""
    found: dict[str, tuple[list[dict[str, Any]], Any]] = {side: ([], None) for side in sides}
    for _ in range(rounds):
        for side in sides:
            measured, answers = one(side, workload)
            found[side] = ([*found[side][0], measured], answers)
    return found


def middle(measured: Sequence[dict[str, Any]], key: str) -> float:
    return statistics.median(each[key] for each in measured)
