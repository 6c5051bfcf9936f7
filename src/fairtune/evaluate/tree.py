"""Texts as a tree: what several begin with is there once, however many levels deep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fairtune.data import common_beginning

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Asked:
    """Which token is to be predicted, ``target``, by the token at place ``at`` of its text, and for which request."""

    at: int
    target: int
    request: int


@dataclass(eq=False)
class Node:
    """Tokens that the same texts have in common, and what these go on with.

    ``start``: place of the first of the tokens in its texts. ``size``: tokens of the node and of everything below it.
    """

    tokens: Numbers
    start: int
    children: list[Node] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    size: int = 0

    @property
    def stop(self) -> int:
        """Place behind its last token."""
        return self.start + len(self.tokens)


def grow(texts: Sequence[Sequence[int]], asked: Sequence[Sequence[Asked]]) -> list[Node]:
    """The tree's branches, in the order of their tokens.

    Args:
        texts: each at least one token; equal ones become one.
        asked: of each text, what is to be predicted from its tokens.
    """
    # As big-endian bytes, texts sort as their tokens do, at the speed of memory.
    known: dict[bytes, list[int]] = {}
    for index, text in enumerate(texts):
        known.setdefault(np.asarray(text, dtype=">u4").tobytes(), []).append(index)
    top = Node(np.empty(0, dtype=np.int64), 0)
    path = [top]
    before = np.empty(0, dtype=np.int64)
    for key in sorted(known):
        tokens = np.frombuffer(key, dtype=">u4").astype(np.int64)
        _add(path, tokens, common_beginning(before, tokens))
        for index in known[key]:
            _ask(path, asked[index])
        before = tokens
    _count(top)
    return top.children


def _add(path: list[Node], tokens: Numbers, common: int) -> None:
    """Puts a text beside the one before it, of which ``path`` has the nodes, and with which it begins alike."""
    while len(path) > 1 and path[-1].start >= common:
        path.pop()
    if path[-1].stop > common:
        split(path[-1], common)
    leaf = Node(tokens[common:], common)
    path[-1].children.append(leaf)
    path.append(leaf)


def split(node: Node, place: int) -> None:
    """Leaves a node what comes before the place; the rest is a node below it."""
    length = place - node.start
    later = [asked for asked in node.asked if asked.at >= place]
    lower = Node(node.tokens[length:], place, node.children, later, node.size - length)
    node.tokens, node.children = node.tokens[:length], [lower]
    node.asked = [asked for asked in node.asked if asked.at < place]


def _ask(path: Sequence[Node], asked: Sequence[Asked]) -> None:
    for one in asked:
        next(node for node in reversed(path) if node.start <= one.at).asked.append(one)


def _count(top: Node) -> None:
    """Sizes, the lowest first."""
    order = [top]
    for node in order:
        order += node.children
    for node in reversed(order):
        node.size = len(node.tokens) + sum(child.size for child in node.children)


@dataclass(frozen=True)
class Row:
    """Branches of a tree laid end to end, each after what it has in common with others.

    ``tokens``, ``positions`` and ``ends`` ``(row,)``: see :class:`~fairtune.models.packing.Packing`. ``places``: those
    of the row whose next token is asked for; ``targets``, ``requests`` and ``of`` ``(asked,)``: which token, by whom,
    and which of the places predicts it.
    """

    tokens: Numbers
    positions: Numbers
    ends: Numbers
    places: Numbers
    targets: Numbers
    requests: Numbers
    of: Numbers


def row_of(above: Sequence[Node], branches: Sequence[Node]) -> Row:
    """Lays out branches after the nodes above them that have to be computed with them, the highest first."""
    pieces: list[tuple[Node, int]] = []
    ends: dict[Node, int] = {}
    place = 0
    for node in above:
        pieces.append((node, place))
        place += len(node.tokens)
    waiting: list[tuple[Node, bool]] = [(node, False) for node in reversed(branches)]
    while waiting:
        node, done = waiting.pop()
        if done:
            ends[node] = place
            continue
        pieces.append((node, place))
        place += len(node.tokens)
        waiting.append((node, True))
        waiting += [(child, False) for child in reversed(node.children)]
    return _filled(pieces, ends, place)


def _filled(pieces: Sequence[tuple[Node, int]], ends: dict[Node, int], length: int) -> Row:
    nodes = [node for node, _ in pieces]
    lengths = [len(node.tokens) for node in nodes]
    asked = [(place + one.at - node.start, one) for node, place in pieces for one in node.asked]
    places, of = np.unique(np.array([place for place, _ in asked], dtype=np.int64), return_inverse=True)
    return Row(
        np.concatenate([node.tokens for node in nodes]),
        np.concatenate([np.arange(node.start, node.stop) for node in nodes]),
        np.repeat([ends.get(node, length) for node in nodes], lengths),
        places,
        np.array([one.target for _, one in asked], dtype=np.int64),
        np.array([one.request for _, one in asked], dtype=np.int64),
        of,
    )
