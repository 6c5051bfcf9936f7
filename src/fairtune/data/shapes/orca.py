"""A system prompt, a question and a response, in three columns (OpenOrca)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fairtune.data.examples import Message
from fairtune.data.shapes.columns import optional, question, text
from fairtune.data.shapes.protocol import Reading, Shape

_SYSTEM, _QUESTION, _RESPONSE = _NAMES = ("system_prompt", "question", "response")


def _convert(columns: Mapping[str, Any], reading: Reading) -> list[Message]:
    system = optional(columns, _SYSTEM)
    asked = question(columns, reading.prompt, text(columns, _QUESTION))
    return [*([Message("system", system)] if system else []), asked, Message("assistant", text(columns, _RESPONSE))]


SHAPE = Shape("orca", (frozenset(_NAMES),), _NAMES, _convert)
