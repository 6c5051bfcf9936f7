"""A text in one language, or of one kind, and the same in another."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from fairtune.data.examples import Message
from fairtune.data.languages import language_codes, language_names
from fairtune.data.shapes.columns import question, shown, text
from fairtune.data.shapes.protocol import Reading, Shape

_PAIRS = (("source", "target"), ("src", "tgt"))
_NESTED = "translation"


def _convert(columns: Mapping[str, Any], reading: Reading) -> list[Message]:
    if _NESTED in columns and not any(set(pair) <= columns.keys() for pair in _PAIRS):
        columns = _unpacked(columns)
    source, target = next((pair for pair in _PAIRS if set(pair) <= columns.keys()), None) or _by_language(columns)
    return [question(columns, reading.prompt, text(columns, source)), Message("assistant", text(columns, target))]


def _by_language(columns: Mapping[str, Any]) -> tuple[str, str]:
    known = _languages(columns) or ()
    found = [name for name in columns if name in known]
    return (found[0], found[1]) if found else _PAIRS[0]


def _unpacked(columns: Mapping[str, Any]) -> dict[str, Any]:
    """``translation: {en: …, es: …}``: from the first language to the second."""
    inside = columns[_NESTED]
    if not isinstance(inside, dict) or len(inside) != 2:
        raise ValueError(f"'{_NESTED}' must hold two languages, found {shown(inside)}")
    return {**columns, **inside, **dict(zip(_PAIRS[0], inside.values(), strict=True))}


def _languages(columns: Mapping[str, Any]) -> frozenset[str] | None:
    """Two columns that are called after languages, whichever way they are written: all stand there in small letters."""
    found = _known().intersection(columns)
    return found if len(found) == len(_PAIRS[0]) else None


@functools.cache
def _known() -> frozenset[str]:
    # A column called id holds names of rows far more often than Indonesian.
    return (language_names() | language_codes()) - {"id"}


SHAPE = Shape("pairs", (*map(frozenset, _PAIRS), frozenset({_NESTED})), _PAIRS[0], _convert, guess=_languages)
