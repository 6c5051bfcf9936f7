"""Answers in a flow: a step is a row of the newest tokens of all drafts, and a finished draft's place is taken at once.

Prompts lie end to end in one row, without padding; what all of a group begin with (a few-shot header, a long
instruction) is computed once, and looked at by every step in one product.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from fairtune.evaluate.drafts import Chooser, Draft
from fairtune.models.load import LanguageModel
from fairtune.models.memory import TokenBudget, TooManyTokensError, is_out_of_memory
from fairtune.models.packing import Kept, Past, lay
from fairtune.models.slots import Slots

# A beginning is kept apart if it has so many tokens and so many prompts have it.
_SHARED_TOKENS = 32
_SHARED_BY = 4

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

    for shared, members in _groups([draft.prompt for draft in drafts]):
        _Flow(model, [drafts[member] for member in members], shared, chooser, rows).run(more)


def _groups(prompts: Sequence[Sequence[int]]) -> Iterator[tuple[int, list[int]]]:
    """Prompts that begin alike, and with how many tokens; those that share too little are one group and share none."""
    order = sorted(range(len(prompts)), key=lambda index: (prompts[index], index))
    alone: list[int] = []
    run: list[int] = []
    for index in order:
        if run and _common(prompts[run[0]], prompts[index]) < _SHARED_TOKENS:
            yield from _closed(prompts, run, alone)
            run = []
        run.append(index)
    yield from _closed(prompts, run, alone)
    if alone:
        yield 0, alone


def _closed(prompts: Sequence[Sequence[int]], run: list[int], alone: list[int]) -> Iterator[tuple[int, list[int]]]:
    if len(run) < _SHARED_BY:
        alone += run
    else:
        # In the order of their tokens, the first and the last differ earliest. One token of each stays its own.
        shortest = min(len(prompts[index]) for index in run)
        yield min(_common(prompts[run[0]], prompts[run[-1]]), shortest - 1), run


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    length = min(len(one), len(other))
    differ = np.flatnonzero(np.asarray(one[:length]) != np.asarray(other[:length]))
    return int(differ[0]) if len(differ) else length


class _Flow:
    """Drafts whose prompts begin with the same ``shared`` tokens."""

    def __init__(self, model: LanguageModel, drafts: Sequence[Draft], shared: int, chooser: Chooser, rows: int) -> None:
        self._model, self._shared, self._chooser, self._rows = model, shared, chooser, rows
        self._budget = TokenBudget(model)
        # The last is taken first. Like lengths follow one another: a step looks as far back as its longest text.
        self._waiting = sorted(drafts, key=lambda draft: len(draft.prompt))
        self._active: list[Draft] = []
        self._past = self._read(drafts[0].prompt[:shared], None) if shared else None
        self._slots = Slots(self._past, model.device)

    def run(self, more: Callable[[int], None]) -> None:
        """Goes on until all are finished; tells how many more are, as they are."""
        while self._waiting or self._active:
            free = self._rows - len(self._active)
            # A pass for one short prompt reads all weights for a few tokens, so some places are let run empty first.
            if self._waiting and (not self._active or free >= max(1, self._rows // 8)):
                self._admit(free)
            else:
                self._step()
            more(self._leave())

    def _admit(self, free: int) -> None:
        """Computes as many waiting texts as have room in a row, and their next tokens."""
        taken = self._next(free)
        own = [self._own(draft) for draft in taken]
        try:
            past, cut = self._past, (len(own[0]) - 1) // self._budget.tokens * self._budget.tokens
            if cut:  # longer than a row: alone, in pieces
                past, own = self._read(own[0][:cut], past), [own[0][cut:]]
            past, logits, spans = self._computed(own, past)
        except TooManyTokensError:
            self._waiting += reversed(taken)
            return
        if cut:
            spans = [(self._shared, past.length)]
        self._slots.add(past, spans)
        self._active += taken
        self._choose(logits, taken)

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
        start = 0
        while past is None or start < len(tokens):
            piece = tokens[start : start + self._budget.tokens]
            try:
                past = self._computed([piece], past)[0]
            except TooManyTokensError:
                continue
            start += len(piece)
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
        with self._budget.trying(), self._model.computing(), self._model.gate.only(chosen):
            logits = self._model.network(input_ids=row, use_cache=False, **packing.arguments()).logits
        spans = [(before + int(stop) - length, before + int(stop)) for stop, length in zip(stops, lengths, strict=True)]
        return kept.past(), logits, spans

    def _step(self) -> None:
        """The next token of every draft."""
        newest = torch.tensor([[draft.new[-1] for draft in self._active]], device=self._model.device)
        try:
            with self._model.computing():
                given = self._slots.arguments()
                logits = self._model.network(input_ids=newest, use_cache=False, **given).logits[0]
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or len(self._active) == 1:
                raise
            self._send_back(len(self._active) // 2)
            return
        self._slots.advanced()
        self._choose(logits, self._active)

    def _send_back(self, count: int) -> None:
        """Memory ran out: some drafts wait, and come back later with what they have written."""
        print(f"out of memory: at most {len(self._active) - count} answers are written at a time from here on")
        self._rows = len(self._active) - count
        for _ in range(count):
            self._slots.remove(len(self._active) - 1)
            self._waiting.append(self._active.pop())
        self._slots.shrink()

    def _choose(self, logits: torch.Tensor, drafts: Sequence[Draft]) -> None:
        for draft, token in zip(drafts, self._chooser.choose(logits.float(), drafts).tolist(), strict=True):
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
