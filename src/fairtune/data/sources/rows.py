"""What every source gives: rows, each knowing where it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """Columns by name; ``where`` is for error messages, as in ``train.jsonl, line 7``."""

    columns: Mapping[str, Any]
    where: str
