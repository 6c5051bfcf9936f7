"""A document of plain text: an answer to no question, all of it learned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fairtune.data.examples import Message
from fairtune.data.shapes.columns import text
from fairtune.data.shapes.protocol import Reading, Shape


def _convert(columns: Mapping[str, Any], reading: Reading) -> list[Message]:
    if reading.prompt.system or reading.prompt.template:
        raise ValueError("plain text is asked nothing; leave out task.prompt")
    return [Message("assistant", text(columns, "text"))]


SHAPE = Shape("text", (frozenset({"text"}),), ("text",), _convert)
