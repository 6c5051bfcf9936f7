"""An instruction, perhaps with something to apply it to, and what should come out (Taori et al. 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fairtune.data.examples import Message
from fairtune.data.shapes.columns import optional, question, text
from fairtune.data.shapes.protocol import Reading, Shape


def _convert(columns: Mapping[str, Any], reading: Reading) -> list[Message]:
    """The model's own template takes the place of Alpaca's headings: they belong to models that have none."""
    given = optional(columns, "input")
    asked = text(columns, "instruction") + (f"\n\n{given}" if given else "")
    return [question(columns, reading.prompt, asked), Message("assistant", text(columns, "output"))]


SHAPE = Shape("alpaca", (frozenset({"instruction", "output"}),), ("instruction", "input", "output"), _convert)
