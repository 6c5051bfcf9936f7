"""A question, answers to choose from, and which of them is right. The right one's text is what is learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fairtune.data.examples import Message
from fairtune.data.shapes.columns import question, shown, text
from fairtune.data.shapes.labels import listed_in
from fairtune.data.shapes.protocol import Reading, Shape

_ASKED = ("question", "prompt")
_CHOICES = "choices"
_RIGHT = ("answer", "label", "answerkey")


def _choices(columns: Mapping[str, Any]) -> tuple[str, ...]:
    """A list of texts or numbers, ARC's ``{text: […], label: […]}``, or a cell of a table that writes a list."""
    value = columns.get(_CHOICES)
    given = value.get("text") if isinstance(value, dict) else listed_in(value)
    if not isinstance(given, list) or len(given) < 2:
        raise ValueError(f"'{_CHOICES}' must be a list of two answers or more, found {shown(value)}")
    found = tuple(text({_CHOICES: _text(choice)}, _CHOICES).strip() for choice in given)
    if len(set(found)) < len(found):
        raise ValueError(f"a choice stands twice in {shown(value)}")
    return found


def _text(choice: Any) -> Any:
    return str(choice) if isinstance(choice, (int, float)) and not isinstance(choice, bool) else choice


def _right(columns: Mapping[str, Any], choices: Sequence[str]) -> str:
    """The right choice's text.

    Raises:
        ValueError: nothing says which it is, or what says it can mean two.
    """
    key = next((key for key in _RIGHT if columns.get(key) is not None), _RIGHT[0])
    value, given = columns.get(key), columns[_CHOICES]
    marks = [str(mark) for mark in given.get("label") or ()] if isinstance(given, dict) else []
    places = sorted(_places(value, choices, marks or [chr(ord("A") + place) for place in range(len(choices))]))
    if len(places) == 1:
        return choices[places[0]]
    if places:
        both = " or ".join(f"'{choices[place]}'" for place in places)
        raise ValueError(
            f"'{key}' is {shown(value)}, which can mean {both}; say it by its letter, or as a number of JSON, its place"
        )
    raise ValueError(
        f"'{key}' must be one of the {len(choices)} choices, by its text, its letter or its place from 0; "
        f"found {shown(value)}"
    )


def _places(value: Any, choices: Sequence[str], marks: Sequence[str]) -> set[int]:
    """The choices that a value can mean. A number of JSON is a place and nothing else."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        is_whole = isinstance(value, int) or value.is_integer()
        return {int(value)} & set(range(len(choices))) if is_whole else set()
    if not isinstance(value, str):
        return set()
    name = value.strip()
    named = {place for place, choice in enumerate(choices) if choice == name}
    marked = {place for place, mark in enumerate(marks[: len(choices)]) if mark == name}
    # Marks of the data's own may be numbers from 1, which are no places.
    counted = {int(name)} if name.isdecimal() and not marked and int(name) < len(choices) else set()
    return named | marked | counted


def _convert(columns: Mapping[str, Any], reading: Reading) -> list[Message]:
    key = next((key for key in _ASKED if key in columns), _ASKED[0])
    choices = _choices(columns)
    default = "" if reading.prompt.template else text(columns, key)
    asked = question({**columns, _CHOICES: "\n".join(choices)}, reading.prompt, default)
    return [asked, Message("assistant", _right(columns, choices))]


SHAPE = Shape(
    "multiple_choice",
    tuple(frozenset({asked, _CHOICES, right}) for asked in _ASKED for right in _RIGHT),
    (_ASKED[0], _CHOICES, _RIGHT[0]),
    _convert,
    asked=frozenset(_ASKED),
    choices=_choices,
)
