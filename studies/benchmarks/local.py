"""Data of well-known benchmarks from files in their original forms, for the task files beside this one."""

from __future__ import annotations

import bz2
import csv
import json
import os
from pathlib import Path
from typing import Any

import datasets

VARIABLE = "FAIRTUNE_BENCHMARK_DATA"


def hellaswag(**_: Any) -> dict[str, datasets.Dataset]:
    """``hellaswag/hellaswag_val_full.txt.bz2``: six lines an item (activity: context, label, four endings).

    The two parts of the context stand in one line there, so the second is not begun with a capital letter.
    """
    lines = bz2.decompress(_file("hellaswag", "hellaswag_val_full.txt.bz2").read_bytes()).decode().split("\n")
    items = [lines[start : start + 6] for start in range(0, len(lines) - 5, 6)]
    return {"validation": datasets.Dataset.from_list([_hellaswag(item) for item in items])}


def _hellaswag(item: list[str]) -> dict[str, Any]:
    activity, _, context = item[0].partition(": ")
    return {
        "activity_label": activity,
        "ctx_a": context,
        "ctx_b": "",
        "endings": item[2:],
        "label": item[1].strip(),
    }


def mmlu(subject: str, **_: Any) -> dict[str, datasets.Dataset]:
    """``mmlu/{dev,test}/SUBJECT_{dev,test}.csv``: question, four choices, answer (0–3 or A–D)."""
    parts = {part: _file("mmlu", part, f"{subject}_{part}.csv") for part in ("dev", "test")}
    return {part: datasets.Dataset.from_list(_mmlu(path)) for part, path in parts.items()}


def _mmlu(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.reader(file) if row]
    rows = rows[1:] if rows[0][0] == "question" else rows
    return [{"question": row[0], "choices": row[1:5], "answer": _number(row[5])} for row in rows]


def _number(answer: str) -> int:
    return int(answer) if answer.isdigit() else "ABCD".index(answer)


def gsm8k(**_: Any) -> dict[str, datasets.Dataset]:
    """``gsm8k/{train,test}.jsonl``: question, answer."""
    parts = {part: _file("gsm8k", f"{part}.jsonl") for part in ("train", "test")}
    return {part: datasets.Dataset.from_list(_rows(path)) for part, path in parts.items()}


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def _file(*parts: str) -> Path:
    """A file in the folder that the environment names."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        raise FileNotFoundError(
            f"set {VARIABLE} to the folder that holds {'/'.join(parts)} (docs/benchmarks.md says which files)"
        )
    path = Path(folder).expanduser().joinpath(*parts)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; {VARIABLE} names the folder (docs/benchmarks.md says which files)")
    return path
