"""The tasks that ship: each a small YAML file in this folder, named as the task."""

from __future__ import annotations

from pathlib import Path

TASKS: dict[str, Path] = {path.stem: path for path in sorted(Path(__file__).parent.glob("*.yaml"))}

__all__ = ["TASKS"]
