"""An instruction, perhaps with something to apply it to, and what should come out (Taori et al. 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fairtune.data.examples import Message
from fairtune.data.shapes.columns import optional, question, text
from fairtune.data.shapes.protocol import Reading, Shape

# Alpaca's own, and Dolly's.
_NAMES = (("instruction", "output", "input"), ("instruction", "response", "context"))


def _convert(columns: Mapping[str, Any], reading: Reading) -> list[Message]:
    """The model's own template takes the place of Alpaca's headings: they belong to models that have none."""
    instruction, output, more = next((names for names in _NAMES if names[1] in columns), _NAMES[0])
    given = optional(columns, more)
    asked = text(columns, instruction) + (f"\n\n{given}" if given else "")
    return [question(columns, reading.prompt, asked), Message("assistant", text(columns, output))]


SHAPE = Shape(
    "alpaca",
    tuple(frozenset(names[:2]) for names in _NAMES),
    ("instruction", "input", "context", "output"),
    _convert,
)
