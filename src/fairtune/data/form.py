"""A chat template that puts messages' texts into a frame and never looks at them: read off its program, not guessed.

For such a template the frame follows from the roles alone. It is written out once for each sequence of roles, and every
conversation is then filled in, which is many times faster than running the template again, and gives the same text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from jinja2 import nodes

_LOOP = {"first", "last", "index", "index0", "revindex", "revindex0", "length", "depth", "depth0"}
# What a text passes through unchanged on its way out.
_PASSES, _STANDS_IN = (nodes.Add, nodes.Concat), (nodes.Template, nodes.For, nodes.If)
# What cannot turn text into Markup, which escapes whatever it is joined with.
_FILTERS = {"length", "count", "trim", "upper", "lower", "capitalize", "title", "default", "d", "first", "last"}
_CALLS = {"raise_exception", "strftime_now", "namespace", "range", "dict"}
_MARK = re.compile("\ue000([0-9]+)\ue001")
_MOST = 1000

Messages = list[dict[str, str]]


class Form:
    """Conversations written as ``write`` does, by filling in the frame of their roles."""

    def __init__(self, write: Callable[[Messages, bool], str]) -> None:
        self._write = write
        self._frames: dict[tuple[str | bool, ...], str] = {}

    def __call__(self, messages: Messages, generate: bool) -> str:
        """The conversation as the model reads it."""
        roles: tuple[str | bool, ...] = (generate, *[message["role"] for message in messages])
        frame = self._frames.get(roles) or self._frame(roles, messages)
        return frame.format(*[message["content"] for message in messages])

    def _frame(self, roles: tuple[str | bool, ...], messages: Messages) -> str:
        """A format string: ``{number}`` where a message's text stands."""
        marked = [{**message, "content": f"\ue000{number}\ue001"} for number, message in enumerate(messages)]
        if len(self._frames) == _MOST:
            self._frames.clear()
        written = self._write(marked, bool(roles[0])).replace("{", "{{").replace("}", "}}")
        self._frames[roles] = _MARK.sub(r"{\1}", written)
        return self._frames[roles]


def is_form(tree: nodes.Template, source: str) -> bool:
    """Whether a template, as Jinja parsed it, does nothing with a message's text but write it where it stands."""
    if "\ue000" in source or "\\ue000" in source.lower() or not _plain(tree):
        return False
    parents = {id(child): parent for parent in _walk(tree) for child in parent.iter_child_nodes()}
    turns = {node.target.name for node in tree.find_all(nodes.For) if isinstance(node.target, nodes.Name)}
    held = {"messages", *turns}
    names = [node for node in tree.find_all(nodes.Name) if node.name in {*held, "loop", "self", "caller", "varargs"}]
    return all(_harmless(node, parents, node.name in turns) for node in names)


def _plain(tree: nodes.Template) -> bool:
    filters = all(node.name in _FILTERS for node in tree.find_all(nodes.Filter))
    return filters and all(
        node.node.name in _CALLS for node in tree.find_all(nodes.Call) if isinstance(node.node, nodes.Name)
    )


def _walk(node: nodes.Node) -> Iterator[nodes.Node]:
    yield node
    for child in node.iter_child_nodes():
        yield from _walk(child)


def _harmless(name: nodes.Name, parents: dict[int, Any], turn: bool) -> bool:
    parent = parents[id(name)]
    if name.name == "loop":
        return _key(parent) in _LOOP
    if turn:
        return (name.ctx == "store" and isinstance(parent, nodes.For)) or _field(parent, parents)
    if name.name != "messages":
        return False
    if isinstance(parent, nodes.Filter):
        return parent.name in ("length", "count")
    if isinstance(parent, nodes.For):
        return True
    if not isinstance(parent, nodes.Getitem):
        return False
    above = parents[id(parent)]
    if isinstance(parent.arg, nodes.Slice):
        return isinstance(above, nodes.For) and above.iter is parent
    return isinstance(parent.arg, nodes.Const | nodes.Neg) and _field(above, parents)


def _field(node: nodes.Node, parents: dict[int, Any]) -> bool:
    """Whether ``node`` reads a field of a message, and, if that is its text, only writes it."""
    key = _key(node)
    if key != "content":
        return isinstance(key, str) and not hasattr(dict, key)
    while isinstance(parents[id(node)], _PASSES):
        node = parents[id(node)]
    node = parents[id(node)]
    if not isinstance(node, nodes.Output):
        return False
    while id(node) in parents:
        node = parents[id(node)]
        if not isinstance(node, _STANDS_IN):
            return False
    return True


def _key(node: nodes.Node) -> Any:
    if isinstance(node, nodes.Getattr):
        return node.attr
    return node.arg.value if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const) else None
