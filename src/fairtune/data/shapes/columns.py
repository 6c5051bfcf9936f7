"""What a shape reads out of a row: text by the name of its column, and templates over all columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fairtune.data.examples import Message
from fairtune.study import Prompt


def text(columns: Mapping[str, Any], key: str, where: str = "") -> str:
    """A column's text.

    Raises:
        ValueError: it is missing, no text, empty, or holds half a character.
    """
    if key not in columns:
        raise ValueError(f"'{where}{key}' is missing; there are {listed(columns)}")
    value = columns[key]
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"'{where}{key}' must be text that is not empty, found {shown(value)}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"'{where}{key}' holds half a character (a lone surrogate) at place {error.start + 1}"
        ) from None
    return value


def optional(columns: Mapping[str, Any], key: str, where: str = "") -> str | None:
    """The same, or None where there is nothing in the column."""
    value = columns.get(key)
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    return text(columns, key, where)


def question(columns: Mapping[str, Any], prompt: Prompt, default: str) -> Message:
    """The user's turn: the task's template where there is one."""
    return Message("user", fill(prompt.template, columns) if prompt.template else default)


def fill(template: str, columns: Mapping[str, Any]) -> str:
    """A template with the row's columns in it.

    Raises:
        ValueError: it asks for what is not there, or nothing is left of it.
    """
    try:
        filled = template.format_map(columns)
    except (KeyError, IndexError, AttributeError, ValueError, TypeError) as error:
        raise ValueError(f"the prompt template asks for {error}; there are {listed(columns)}") from None
    return text({"prompt.template": filled}, "prompt.template")


def listed(columns: Mapping[str, Any]) -> str:
    """The names of the columns, for messages."""
    return ", ".join(map(str, columns)) or "no columns"


def shown(value: Any) -> str:
    """A value, for messages."""
    found = repr(value)
    return found if len(found) <= 60 else found[:57] + "..."
