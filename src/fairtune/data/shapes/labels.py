"""A text and its label, or its labels: the answer is the labels' names, in the order of the label set."""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fairtune.data.examples import Message
from fairtune.data.shapes.columns import question, shown, text
from fairtune.data.shapes.protocol import Reading, Shape

_TEXTS = ("text", "sentence")
_LABELS = ("labels", "label")
_SEPARATORS = (", ", "; ", " | ", "\n")
_NONE = ("none", "no label", "–")
# More would not be a set that a model learns to choose from; one name a row is a question with an answer.
_MOST = 1_000


def separator(labels: Iterable[str]) -> str:
    """What stands between labels in an answer: a comma, semicolon, bar or new line, the first that is in no label."""
    known = list(labels)
    return next((mark for mark in _SEPARATORS if not any(mark in label for label in known)), _SEPARATORS[-1])


def listed(labels: Sequence[str]) -> str:
    """All of them, as a prompt names them: apart as in an answer."""
    return separator(labels).join(labels)


def no_label(labels: Iterable[str]) -> str:
    """The answer for a text without labels, which is itself no label."""
    known = {label.casefold() for label in labels}
    return next(word for word in _NONE if word not in known)


def render(chosen: Iterable[str], labels: Sequence[str]) -> str:
    """The answer that names these labels, in the order of the label set."""
    wanted = set(chosen)
    return separator(labels).join(label for label in labels if label in wanted) or no_label(labels)


def parse(answer: str, labels: Sequence[str]) -> tuple[list[str], list[str]]:
    """The labels that an answer names, in the order of the label set, and what it names besides. Inverts ``render``."""
    if answer.strip() == no_label(labels):
        return [], []
    named = [part.strip() for part in answer.split(separator(labels).strip() or "\n")]
    return [label for label in labels if label in named], [part for part in named if part and part not in labels]


def names(columns: Mapping[str, Any]) -> list[str]:
    """The labels of a row as they are written there.

    Raises:
        ValueError: neither a name nor a list of names.
    """
    value = next((columns[key] for key in _LABELS if columns.get(key) is not None), None)
    given = listed_in(value)
    wrong = [item for item in given if not isinstance(item, (str, int)) and not _is_whole(item)]
    if value is None or wrong:
        raise ValueError(f"'label' must be a name, or 'labels' a list of names; found {shown(value)}")
    found = [text({"label": _name(item)}, "label").strip() for item in given]
    if len(set(found)) < len(found):
        raise ValueError(f"a label stands twice in {shown(value)}")
    return found


def listed_in(value: Any) -> list[Any]:
    """A list, or a cell of a table that writes one: ``["a", "b"]``, or ``['a', 'b']`` as pandas does."""
    if isinstance(value, str) and value.strip().startswith("[") and value.strip().endswith("]"):
        with contextlib.suppress(ValueError, SyntaxError, RecursionError, MemoryError):
            found = ast.literal_eval(value.strip())
            if all(isinstance(item, (str, int)) for item in found):
                return list(found)
    return value if isinstance(value, list) else [value]


def _is_whole(item: Any) -> bool:
    """Tables write whole numbers as 1.0 where a cell of the column is empty."""
    return isinstance(item, float) and item.is_integer()


def _name(item: Any) -> str:
    if isinstance(item, bool):
        return str(item).lower()
    return str(int(item)) if isinstance(item, float) else str(item)


def label_set(rows: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """Every label of the training rows, sorted; numbers by size.

    Raises:
        ValueError: more than a model can choose from.
    """
    found = {name for row in rows for name in row}
    if len(found) > _MOST:
        raise ValueError(
            f"{len(found):,} different labels; name up to {_MOST:,} with `labels:`, or give the rows another shape"
        )
    return tuple(sorted(found, key=lambda name: (int(name), "") if name.isdecimal() else (-1, name)))


def _convert(columns: Mapping[str, Any], reading: Reading) -> list[Message]:
    key = next((key for key in _TEXTS if key in columns), _TEXTS[0])
    chosen = [_named(name, reading.labels) for name in names(columns)]
    unknown = [name for name in chosen if name not in reading.labels]
    if unknown:
        raise ValueError(f"label '{unknown[0]}' is not in the set: {', '.join(reading.labels)}")
    asked = question({**columns, "labels": listed(reading.labels)}, reading.prompt, text(columns, key))
    return [asked, Message("assistant", render(chosen, reading.labels))]


def _named(name: str, labels: Sequence[str]) -> str:
    """A number stands for the label at that place, where labels have names and none is a number."""
    has_numbers = any(label.isdecimal() for label in labels)
    is_place = name.isdecimal() and not has_numbers and int(name) < len(labels)
    return labels[int(name)] if is_place else name


SHAPE = Shape(
    "labels",
    tuple(frozenset({text_name, label}) for text_name in _TEXTS for label in _LABELS),
    ("text", "label", "labels"),
    _convert,
    needs_labels=True,
)
