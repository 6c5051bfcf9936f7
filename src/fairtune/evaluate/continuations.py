"""How likely continuations of contexts are: what benchmarks of several choices ask.

All requests together are one tree of tokens. What many begin with (a few-shot header) goes through the network once,
and its keys and values are kept while its branches are scored; what a few have in common (a question, before its
choices) stands once in their row. Equal requests are one branch. Branches are gone through depth first, so what is
kept is one path from the root, and is freed when its last branch is done.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
import torch

from fairtune.data import micro_batches
from fairtune.errors import DataError
from fairtune.evaluate.tree import Asked, Node, Numbers, grow, row_of, split
from fairtune.models.load import LanguageModel
from fairtune.models.memory import TokenBudget
from fairtune.models.packing import Keep, Kept, Past, lay
from fairtune.models.predictions import predictions

# A pass of its own costs as much as about so many tokens: the weights are read once more. A beginning that is shorter
# is computed again in each row that needs it.
_WORTH_KEEPING = 32


@dataclass(frozen=True)
class Continuation:
    """Tokens, and the context they are thought to continue; each at least one token."""

    context: tuple[int, ...]
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class Likelihood:
    """Log-likelihood of a continuation in nats, summed over its tokens.

    ``greedy``: whether each token is the likeliest at its place. ``cut``: tokens of the context that were left away,
    from its beginning, since the whole is longer than the model reads.
    """

    log_likelihood: float
    greedy: bool
    cut: int = 0


Done = Callable[[int], None]
_Text: TypeAlias = "tuple[tuple[int, ...], list[Asked]]"


@torch.no_grad()
def score_continuations(
    model: LanguageModel, asked: Sequence[Continuation], done: Done = lambda _: None
) -> list[Likelihood]:
    """The likelihood of every continuation, in order.

    Args:
        done: told how many are scored so far.

    Raises:
        DataError: a context or a continuation without tokens, or a continuation longer than the model reads.
    """
    if not asked:
        return []
    model.network.eval()
    room = model.context
    whole = [item.context + item.tokens for item in asked]
    _require_tokens(asked, room)
    cuts = [0 if room is None else max(0, len(tokens) - room - 1) for tokens in whole]
    texts = [tokens[cut:-1] for tokens, cut in zip(whole, cuts, strict=True)]
    wanted = [
        [Asked(len(text) - len(item.tokens) + place, token, request) for place, token in enumerate(item.tokens)]
        for request, (text, item) in enumerate(zip(texts, asked, strict=True))
    ]
    tally = _Tally([len(item.tokens) for item in asked], done)
    way = _Branches if model.batching.branches else _Padded
    way(model, tally).score(texts, wanted)
    return [
        Likelihood(float(total), bool(greedy), cut)
        for total, greedy, cut in zip(tally.sums, tally.greedy, cuts, strict=True)
    ]


def _require_tokens(asked: Sequence[Continuation], room: int | None) -> None:
    for item in asked:
        if not item.context or not item.tokens:
            raise DataError("a context and its continuation need at least one token each")
        if room is not None and len(item.tokens) > room:
            raise DataError(f"a continuation of {len(item.tokens)} tokens is longer than the model reads ({room})")


class _Tally:
    """What is known of each request so far."""

    def __init__(self, tokens: Sequence[int], done: Done) -> None:
        self.sums = np.zeros(len(tokens))
        self.greedy = np.ones(len(tokens), dtype=bool)
        self._missing = np.array(tokens)
        self._done = done

    def add(self, requests: Numbers, log_p: torch.Tensor, greedy: torch.Tensor) -> None:
        np.add.at(self.sums, requests, log_p.double().cpu().numpy())
        np.logical_and.at(self.greedy, requests, greedy.cpu().numpy())
        np.subtract.at(self._missing, requests, 1)
        self._done(int((self._missing == 0).sum()))


@dataclass(frozen=True)
class _Work:
    """Branches to be scored, what is kept of the path to them, and nodes of it that every row computes again."""

    branches: Sequence[Node]
    past: Past | None = None
    above: tuple[Node, ...] = ()

    @property
    def repeated(self) -> int:
        return sum(len(node.tokens) for node in self.above)


class _Branches:
    """Texts as a tree, and its branches in rows."""

    def __init__(self, model: LanguageModel, tally: _Tally) -> None:
        self._model, self._tally = model, tally
        self._budget = TokenBudget(model)

    def score(self, texts: Sequence[Sequence[int]], wanted: Sequence[Sequence[Asked]]) -> None:
        stack = [_Work(grow(texts, wanted))]
        while stack:
            stack += reversed(self._left_of(stack.pop()))

    def _left_of(self, work: _Work) -> list[_Work]:
        """Scores what fits into rows, and gives what is left."""
        room = self._budget.tokens - work.repeated
        large = [node for node in work.branches if node.size > room]
        if len(work.branches) == 1 and large:
            return [self._below(work, large[0], room)]
        small = [node for node in work.branches if node.size <= room]
        left = [_Work([node], work.past, work.above) for node in large]
        rows = _side_by_side(small, room)
        for branches in rows:
            if not self._budget.fits(partial(self._run, work.above, branches, work.past)):
                rest = [*branches, *itertools.chain.from_iterable(rows)]
                return [_Work(rest, work.past, work.above), *left]
        return left

    def _below(self, work: _Work, node: Node, room: int) -> _Work:
        """What comes after a node whose branches do not fit into one row."""
        if len(node.tokens) > room:
            split(node, node.start + max(1, room))
        path = (*work.above, node)
        if work.repeated + len(node.tokens) < _WORTH_KEEPING:
            return _Work(node.children, work.past, path)
        kept = Kept()
        if not self._budget.fits(partial(self._run, path, [], work.past, kept.take)):
            return work
        return _Work(node.children, kept.past())

    def _run(
        self, above: Sequence[Node], branches: Sequence[Node], past: Past | None, keep: Keep | None = None
    ) -> None:
        row, device = row_of(above, branches), self._model.device
        packing = lay(row.positions, row.ends, device, past, keep)
        tokens = torch.from_numpy(row.tokens).unsqueeze(0).to(device)
        chosen = torch.zeros_like(tokens, dtype=torch.bool)
        chosen[0, torch.from_numpy(row.places).to(device)] = True
        given = {"input_ids": tokens, "use_cache": False, **packing.arguments()}
        found = predictions(self._model, given, chosen, torch.from_numpy(row.targets), row.of)
        self._tally.add(row.requests, *found)
        for node in above:
            node.asked = []  # rows to come compute it again, and need not answer again


def _side_by_side(branches: Sequence[Node], room: int) -> Iterator[list[Node]]:
    """Branches for one row after the other: as few rows as there must be, about equally full."""
    total = sum(node.size for node in branches)
    share = total / max(1, math.ceil(total / room))
    row: list[Node] = []
    filled = 0
    for node in branches:
        if row and (filled + node.size > room or filled + node.size / 2 > share):
            yield row
            row, filled = [], 0
        row.append(node)
        filled += node.size
    if row:
        yield row


class _Padded:
    """A text a row, for models whose texts cannot branch."""

    def __init__(self, model: LanguageModel, tally: _Tally) -> None:
        self._model, self._tally = model, tally
        self._budget = TokenBudget(model)

    def score(self, texts: Sequence[Sequence[int]], wanted: Sequence[Sequence[Asked]]) -> None:
        together: dict[tuple[int, ...], list[Asked]] = {}
        for text, asked in zip(texts, wanted, strict=True):
            together.setdefault(tuple(text), []).extend(asked)
        left = list(together.items())
        while left:
            batches = micro_batches([len(text) for text, _ in left], self._budget.tokens)
            left = self._not_run([[left[row] for row in batch.rows] for batch in batches])

    def _not_run(self, batches: Sequence[Sequence[_Text]]) -> list[_Text]:
        """Scores batch after batch; gives those that are left when one is too large."""
        for number, batch in enumerate(batches):
            if not self._budget.fits(partial(self._run, batch)):
                return [text for later in batches[number:] for text in later]
        return []

    def _run(self, batch: Sequence[_Text]) -> None:
        tokens = torch.zeros((len(batch), max(len(text) for text, _ in batch)), dtype=torch.long)
        asked = [(row, one) for row, (_, own) in enumerate(batch) for one in own]
        for row, (text, _) in enumerate(batch):
            tokens[row, : len(text)] = torch.tensor(text)
        flat = [row * tokens.shape[1] + one.at for row, one in asked]
        places, of = np.unique(flat, return_inverse=True)
        chosen = torch.zeros(tokens.numel(), dtype=torch.bool)
        chosen[torch.from_numpy(places)] = True
        targets = torch.tensor([one.target for _, one in asked])
        device = self._model.device
        given = {"input_ids": tokens.to(device), "use_cache": False}
        found = predictions(self._model, given, chosen.view_as(tokens).to(device), targets, of)
        self._tally.add(np.array([one.request for _, one in asked]), *found)
