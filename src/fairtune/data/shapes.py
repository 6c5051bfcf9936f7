"""Shapes of rows, and how each becomes an example."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast, get_args

from fairtune.data.examples import Example, Message, Role, make_example
from fairtune.data.sources import Row
from fairtune.errors import DataError
from fairtune.study import Prompt

_ROLES = get_args(Role)


def recognise(row: Row) -> str:
    """The shape of a row, by its columns.

    Raises:
        DataError: no known shape has these columns.
    """
    for shape, (columns, _) in SHAPES.items():
        if columns <= set(row.columns):
            return shape
    known = "; ".join(f"{shape}: {', '.join(sorted(columns))}" for shape, (columns, _) in SHAPES.items())
    found = ", ".join(map(str, row.columns)) or "none"
    raise DataError(f"{row.where}: columns {found} fit no known shape. Known: {known}")


def to_examples(rows: list[Row], shape: str | None, prompt: Prompt) -> list[Example]:
    """Examples of all rows.

    Raises:
        DataError: rows that do not have the shape or have no answer; the first five are told, and how many more.
    """
    shape = shape or recognise(rows[0])
    convert = SHAPES[shape][1]
    examples: list[Example] = []
    wrong: list[str] = []
    for row in rows:
        try:
            examples.append(_with_system(convert(row.columns, prompt), prompt))
        except ValueError as error:
            wrong.append(f"{row.where}: {error}")
    if wrong:
        more = f"\n  … and {len(wrong) - 5} more rows" if len(wrong) > 5 else ""
        raise DataError(
            f"{len(wrong)} of {len(rows)} rows cannot be used as {shape}:\n  " + "\n  ".join(wrong[:5]) + more
        )
    return examples


def _prompt_completion(columns: Mapping[str, Any], prompt: Prompt) -> list[Message]:
    question = _fill(prompt.template, columns) if prompt.template else _text(columns, "prompt")
    return [Message("user", question), Message("assistant", _text(columns, "completion"))]


def _plain_text(columns: Mapping[str, Any], prompt: Prompt) -> list[Message]:
    """A document is an answer to no question: all of it is learned."""
    if prompt.system or prompt.template:
        raise ValueError("plain text is asked nothing; leave out task.prompt")
    return [Message("assistant", _text(columns, "text"))]


def _messages(columns: Mapping[str, Any], prompt: Prompt) -> list[Message]:
    raw = columns.get("messages")
    if not isinstance(raw, list) or not raw:
        raise ValueError(f"'messages' must be a list of turns, found {_found(raw)}")
    turns = [_turn(item, index) for index, item in enumerate(raw)]
    if turns[-1].role != "assistant":
        raise ValueError(f"no answer: the last turn is the {turns[-1].role}'s, and must be the assistant's")
    if not any(turn.role == "user" for turn in turns):
        raise ValueError("no question: there is no turn of the user")
    return turns


def _turn(item: Any, index: int) -> Message:
    if not isinstance(item, dict) or item.get("role") not in _ROLES:
        raise ValueError(f"messages[{index}] needs a role, one of {', '.join(_ROLES)}; found {_found(item)}")
    return Message(cast("Role", item["role"]), _text(item, "content", f"messages[{index}]."))


def _with_system(turns: list[Message], prompt: Prompt) -> Example:
    """A row's own system message wins over the task's."""
    if prompt.system is None or turns[0].role == "system":
        return make_example(tuple(turns))
    return make_example((Message("system", prompt.system), *turns), task_system=True)


def _text(columns: Mapping[str, Any], key: str, where: str = "") -> str:
    if key not in columns:
        raise ValueError(f"'{where}{key}' is missing; there are {', '.join(map(str, columns)) or 'no columns'}")
    value = columns[key]
    if isinstance(value, str) and value.strip():
        return value
    raise ValueError(f"'{where}{key}' must be text that is not empty, found {_found(value)}")


def _fill(template: str, columns: Mapping[str, Any]) -> str:
    try:
        return template.format_map(columns)
    except (KeyError, IndexError, AttributeError, ValueError) as error:
        raise ValueError(f"the prompt template asks for {error}; there are {', '.join(map(str, columns))}") from None


def _found(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


Converter = Callable[[Mapping[str, Any], Prompt], list[Message]]
SHAPES: dict[str, tuple[set[str], Converter]] = {
    "prompt_completion": ({"prompt", "completion"}, _prompt_completion),
    "messages": ({"messages"}, _messages),
    "text": ({"text"}, _plain_text),
}
