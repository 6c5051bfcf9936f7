"""Answers in a flow: a step is a row of the newest tokens of all drafts, and a finished draft's place is taken at once.

Prompts lie end to end in one row, without padding; what all of a group begin with (a few-shot header, a long
instruction) is computed once, and looked at by every step in one product.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import torch

from fairtune.data import common_beginning
from fairtune.evaluate.drafts import Chooser, Draft
from fairtune.models.load import LanguageModel
from fairtune.models.memory import TokenBudget, token_bytes, tried
from fairtune.models.packing import Kept, Past, lay
from fairtune.models.quantize import weight_bytes
from fairtune.models.slots import Slots

# A beginning is kept apart if it has so many tokens.
_SHARED_TOKENS = 32
# A step reads all weights once, and the keys and values of every draft. With more drafts than these weigh so many times
# as much as the weights, a step takes longer by almost what it does more, and only memory grows (docs/log.md).
_CACHE_TO_WEIGHTS = 2
# Tokens that are counted as still to come, of each draft: most answers are short, and a limit may be far away.
_TO_COME = 64

Done = Callable[[int], None]


def write_in_flow(model: LanguageModel, drafts: Sequence[Draft], chooser: Chooser, rows: int, done: Done) -> None:
    """Writes every draft to its end.

    Args:
        rows: most drafts at a time.
        done: told how many are finished so far.
    """
    finished = 0

    def more(count: int) -> None:
        nonlocal finished
        finished += count
        done(finished)

    for shared, members in _groups([draft.prompt for draft in drafts], rows):
        _Flow(model, [drafts[member] for member in members], shared, chooser, rows).run(more)


def _groups(prompts: Sequence[Sequence[int]], rows: int) -> Iterator[tuple[int, list[int]]]:
    """Prompts that begin alike, and with how many tokens; all others are one group and share none.

    A group ends with places that run empty, so it has as many prompts as there are places, or all there are.
    """
    order = sorted(range(len(prompts)), key=lambda index: (prompts[index], index))
    alone: list[int] = []
    for run in _runs(prompts, order):
        if len(run) < min(rows, len(prompts)):
            alone += run
            continue
        # In the order of their tokens, the first and the last differ earliest. One token of each stays its own.
        shortest = min(len(prompts[index]) for index in run)
        shared = common_beginning(prompts[run[0]], prompts[run[-1]], shortest - 1)
        yield shared if shared >= _SHARED_TOKENS else 0, run
    if alone:
        yield 0, alone


def _runs(prompts: Sequence[Sequence[int]], order: Sequence[int]) -> Iterator[list[int]]:
    run: list[int] = []
    for index in order:
        if run and common_beginning(prompts[run[0]], prompts[index]) < _SHARED_TOKENS:
            yield run
            run = []
        run.append(index)
    if run:
        yield run


class _Flow:
    """Drafts whose prompts begin with the same ``shared`` tokens."""

    def __init__(self, model: LanguageModel, drafts: Sequence[Draft], shared: int, chooser: Chooser, rows: int) -> None:
        self._model, self._shared, self._chooser, self._rows = model, shared, chooser, rows
        self._budget = TokenBudget(model)
        # The last is taken first. Like lengths follow one another: a step looks as far back as its longest text.
        self._waiting = sorted(drafts, key=lambda draft: (len(draft.prompt), draft.prompt))
        self._active: list[Draft] = []
        self._past = self._read(drafts[0].prompt[:shared], None) if shared else None
        self._cached_tokens = int(_CACHE_TO_WEIGHTS * weight_bytes(model.network.parameters()) / token_bytes(model))
        self._slots = Slots(self._past, model.device)

    def run(self, more: Callable[[int], None]) -> None:
        """Goes on until all are finished; tells how many more are, as they are."""
        while self._waiting or self._active:
            free = self._places() - len(self._active)
            # A pass for one short prompt reads all weights for a few tokens, so some places are let run empty first.
            if self._waiting and (not self._active or free >= max(1, self._places() // 8)):
                self._admit(max(1, free))
            else:
                self._step()
            more(self._leave())

    def _places(self) -> int:
        """Drafts that are worth having at a time, of the longest that are there or come next."""
        drafts = [*self._active, *self._waiting[-1:]]
        longest = max(len(self._own(draft)) for draft in drafts) + _TO_COME
        return max(1, min(self._rows, self._cached_tokens // longest))

    def _admit(self, free: int) -> None:
        """Begins as many waiting drafts as have room in a row."""
        taken = self._next(free)
        if self._active:
            done = tried(partial(self._begin, taken))
            if not done:  # what is under way fills the memory: the rest waits until some of it has ended
                self._limit(len(self._active))
        else:
            done = self._budget.fits(partial(self._begin, taken))
        if not done:
            self._waiting += reversed(taken)

    def _begin(self, taken: Sequence[Draft]) -> None:
        """Computes what texts have read so far, and their next tokens. Equal texts are computed once."""
        own = [tuple(self._own(draft)) for draft in taken]
        texts = list(dict.fromkeys(own))
        past, cut = self._past, (len(texts[0]) - 1) // self._budget.tokens * self._budget.tokens
        if cut:  # longer than a row: alone, in pieces
            past, texts = self._read(texts[0][:cut], past), [texts[0][cut:]]
        past, logits, spans = self._computed(texts, past)
        if cut:
            spans = [(self._shared, past.length)]
        places = [0] if cut else [texts.index(text) for text in own]
        chosen = self._chosen(logits[places], taken)
        self._slots.add(past, [spans[place] for place in places])
        self._active += taken
        self._add(chosen, taken)

    def _next(self, free: int) -> list[Draft]:
        taken = [self._waiting.pop()]
        room = self._budget.tokens - len(self._own(taken[0]))
        while self._waiting and len(taken) < free and len(self._own(self._waiting[-1])) <= room:
            taken.append(self._waiting.pop())
            room -= len(self._own(taken[-1]))
        return taken

    def _own(self, draft: Draft) -> list[int]:
        """What it has beside the shared beginning; a draft that had to leave comes back with what it wrote."""
        return draft.prompt[self._shared :] + draft.new

    def _read(self, tokens: Sequence[int], past: Past | None) -> Past:
        """Keys and values of a text after the past, computed in pieces."""
        for start in range(0, len(tokens), self._budget.tokens):
            past = self._computed([tokens[start : start + self._budget.tokens]], past)[0]
        assert past is not None, "no tokens to read"  # noqa: S101
        return past

    def _computed(
        self, texts: Sequence[Sequence[int]], past: Past | None
    ) -> tuple[Past, torch.Tensor, list[tuple[int, int]]]:
        """Texts in a row after the past: keys and values of all, the logits after each, and where each lies."""
        kept, device, before = Kept(), self._model.device, 0 if past is None else past.length
        lengths = [len(text) for text in texts]
        stops = np.cumsum(lengths)
        positions = np.concatenate([before + np.arange(length) for length in lengths])
        packing = lay(positions, np.repeat(stops, lengths), device, past, kept.take)
        row = torch.tensor([[token for text in texts for token in text]], device=device)
        chosen = torch.zeros_like(row, dtype=torch.bool)
        chosen[0, torch.from_numpy(stops - 1).to(device)] = True
        with self._model.computing(), self._model.gate.only(chosen):
            logits = self._model.network(input_ids=row, use_cache=False, **packing.arguments()).logits
        spans = [(before + int(stop) - length, before + int(stop)) for stop, length in zip(stops, lengths, strict=True)]
        return kept.past(), logits, spans

    def _step(self) -> None:
        """The next token of every draft."""
        if len(self._active) == 1:
            self._advance()
        elif not tried(self._advance):
            self._send_back(len(self._active) // 2)

    def _advance(self) -> None:
        newest = torch.tensor([[draft.new[-1] for draft in self._active]], device=self._model.device)
        with self._model.computing():
            logits = self._model.network(input_ids=newest, use_cache=False, **self._slots.arguments()).logits[0]
        chosen = self._chosen(logits, self._active)
        self._slots.advanced()
        self._add(chosen, self._active)

    def _send_back(self, count: int) -> None:
        """Some drafts wait, and come back later with what they have written."""
        self._limit(len(self._active) - count)
        for _ in range(count):
            self._slots.remove(len(self._active) - 1)
            self._waiting.append(self._active.pop())
        self._slots.shrink()

    def _limit(self, rows: int) -> None:
        print(f"out of memory: at most {rows} answers are written at a time from here on", file=sys.stderr)
        self._rows = rows

    def _chosen(self, logits: torch.Tensor, drafts: Sequence[Draft]) -> list[int]:
        tokens: list[int] = self._chooser.choose(logits.float(), drafts).tolist()
        return tokens

    def _add(self, tokens: Sequence[int], drafts: Sequence[Draft]) -> None:
        for draft, token in zip(drafts, tokens, strict=True):
            draft.add(token, self._model.stops, self._model.tokenizer)

    def _leave(self) -> int:
        """Takes out what is finished; says how many that were."""
        finished = [place for place, draft in enumerate(self._active) if draft.finished]
        for place in reversed(finished):
            self._slots.remove(place)
            last = self._active.pop()
            if place < len(self._active):
                self._active[place] = last
        return len(finished)
