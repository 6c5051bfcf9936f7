"""A question and its answer, in two columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fairtune.data.examples import Message
from fairtune.data.shapes.columns import question, text
from fairtune.data.shapes.protocol import Reading, Shape

# In this order: the first pair that is there is read. `columns:` in the task names any other.
_PAIRS = (
    ("prompt", "completion"),
    ("question", "answer"),
    ("query", "response"),
    ("prompt", "response"),
    ("input", "output"),
)


def _pair(columns: Mapping[str, Any]) -> tuple[str, str]:
    whole = [pair for pair in _PAIRS if set(pair) <= columns.keys()]
    # With a template nothing but the answer has a column of its own.
    return next(iter(whole or [pair for pair in _PAIRS if pair[1] in columns]), _PAIRS[0])


def _convert(columns: Mapping[str, Any], reading: Reading) -> list[Message]:
    asked, answered = _pair(columns)
    default = "" if reading.prompt.template else text(columns, asked)
    return [question(columns, reading.prompt, default), Message("assistant", text(columns, answered))]


SHAPE = Shape(
    "prompt_completion",
    tuple(map(frozenset, _PAIRS)),
    _PAIRS[0],
    _convert,
    asked=frozenset(asked for asked, _ in _PAIRS),
)
