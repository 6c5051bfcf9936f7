"""Conversations, as OpenAI's ``messages`` (role, content) or ShareGPT's ``conversations`` (from, value)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast, get_args

from fairtune.data.examples import Message, Role
from fairtune.data.shapes.columns import shown, text
from fairtune.data.shapes.protocol import Reading, Shape

_ROLES = get_args(Role)
_LISTS = ("messages", "conversations")
_KEYS = (("role", "content"), ("from", "value"))
_OTHER_NAMES = {"human": "user", "gpt": "assistant", "chatgpt": "assistant", "bot": "assistant", "model": "assistant"}


def _convert(columns: Mapping[str, Any], reading: Reading) -> list[Message]:
    if reading.prompt.template:
        raise ValueError("a conversation asks its own questions; leave out task.prompt.template")
    name = next((name for name in _LISTS if name in columns), _LISTS[0])
    raw = columns.get(name)
    if not isinstance(raw, list) or not raw:
        raise ValueError(f"'{name}' must be a list of turns, found {shown(raw)}")
    turns = [_turn(item, f"{name}[{index}]") for index, item in enumerate(raw) if not _is_empty_system(item)]
    if not turns or turns[-1].role != "assistant":
        last = turns[-1].role if turns else "system"
        raise ValueError(f"no answer: the last turn is the {last}'s, and must be the assistant's")
    if not any(turn.role == "user" for turn in turns):
        raise ValueError("no question: there is no turn of the user")
    return turns


def _turn(item: Any, where: str) -> Message:
    role_key, content_key = next((keys for keys in _KEYS if isinstance(item, dict) and keys[0] in item), _KEYS[0])
    role = item.get(role_key) if isinstance(item, dict) else None
    role = _OTHER_NAMES.get(role, role) if isinstance(role, str) else role
    if role not in _ROLES:
        raise ValueError(f"{where} needs a role, one of {', '.join(_ROLES)}; found {shown(item)}")
    return Message(cast("Role", role), text({content_key: _joined(item.get(content_key))}, content_key, f"{where}."))


def _joined(content: Any) -> Any:
    """Text given in parts is one text; parts that are no text stay, to be refused."""
    if isinstance(content, list) and content and all(_is_text(part) for part in content):
        return "".join(part["text"] for part in content)
    return content


def _is_text(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)


def _is_empty_system(item: Any) -> bool:
    """A system turn that says nothing is how many data sets write that there is none."""
    if not isinstance(item, dict) or "system" not in (item.get("role"), item.get("from")):
        return False
    content = item.get("content", item.get("value"))
    return content is None or (isinstance(content, str) and not content.strip())


SHAPE = Shape("messages", tuple(frozenset({name}) for name in _LISTS), ("messages",), _convert)
