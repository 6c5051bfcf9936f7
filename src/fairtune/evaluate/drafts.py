"""Answers while they are written: which token comes next, and where an answer ends."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from fairtune.study import Generation


@dataclass(frozen=True)
class Answer:
    """A generated answer.

    ``text``: without special tokens and white space around it; ``written``: with the latter. ``tokens``: how many were
    written, the end token not counted, those of a stop text counted. ``stopped``: whether it ended by itself.
    """

    text: str
    tokens: int
    stopped: bool
    written: str = ""


class Draft:
    """An answer under way. Its draws depend on its seed alone, not on what else is written at the time."""

    def __init__(self, prompt: Sequence[int], most: int, how: Generation, seed: int | None) -> None:
        self.prompt = list(prompt)
        self._most = most
        self._stop_texts = how.stop
        self._seed = seed
        self.restart()
        # A stop text has at most as many tokens as bytes, and may begin within a token.
        self._tail = 8 + 4 * max((len(text) for text in how.stop), default=0)

    def restart(self) -> None:
        """Nothing is written yet."""
        self.new: list[int] = []
        self.finished = self._ended = False

    def draw(self) -> float:
        """A number from 0 to 1 for the next token: the same however often it is asked for."""
        assert self._seed is not None, "sampled answers need a seed each"  # noqa: S101
        return float(np.random.default_rng([self._seed, len(self.new)]).random())

    def add(self, token: int, stops: Collection[int], tokenizer: Any) -> None:
        """The next token; nothing once it is finished."""
        if self.finished:
            return
        if token in stops:
            self._ended = self.finished = True
            return
        self.new.append(token)
        if self._stop_texts:
            # With special tokens: some tasks name an end token of other models, which this one may have, too.
            tail = tokenizer.decode(self.new[-self._tail :], skip_special_tokens=False)
            self._ended = any(text in tail for text in self._stop_texts)
        self.finished = self._ended or len(self.new) == self._most

    def answer(self, tokenizer: Any) -> Answer:
        """What it has become: the text before the first of the stop texts."""
        text = str(tokenizer.decode(self.new, skip_special_tokens=True))
        for stop in self._stop_texts:
            text = text.split(stop, 1)[0]
        return Answer(text.strip(), len(self.new), self._ended, text)


class Chooser:
    """Chooses the next token of drafts: the likeliest, or a draw from the likely ones."""

    def __init__(self, how: Generation) -> None:
        self._greedy = how.temperature == 0
        self._penalty = (
            None if how.repetition_penalty == 1 else RepetitionPenaltyLogitsProcessor(how.repetition_penalty)
        )
        self._warpers = LogitsProcessorList()
        if not self._greedy and how.temperature != 1:
            self._warpers.append(TemperatureLogitsWarper(how.temperature))
        if how.top_k is not None:
            self._warpers.append(TopKLogitsWarper(how.top_k))
        if how.top_p is not None:
            self._warpers.append(TopPLogitsWarper(how.top_p))

    def choose(self, logits: torch.Tensor, drafts: Sequence[Draft]) -> torch.Tensor:
        """A token for each draft, ``(drafts,)``.

        Args:
            logits: ``(drafts, vocabulary)`` in fp32.
        """
        if self._penalty is not None:
            logits = self._penalty(_read(drafts, logits.device), logits)
        if self._greedy:
            return logits.argmax(-1)
        # transformers' warpers are given tokens and do not look at them.
        p = self._warpers(_read(drafts[:1], logits.device), logits).softmax(-1, dtype=torch.float64)
        mass = p.cumsum(-1)
        draws = torch.tensor([draft.draw() for draft in drafts], dtype=torch.float64, device=logits.device)
        # The first token whose cumulated probability exceeds the draw; tokens of probability 0 are never that.
        found = torch.searchsorted(mass, (draws * mass[:, -1]).unsqueeze(1), right=True).squeeze(1)
        return found.clamp(max=p.shape[1] - 1)


def _read(drafts: Sequence[Draft], device: torch.device) -> torch.Tensor:
    """Prompts and answers so far, ``(drafts, longest)``, the shorter ones filled up with a token of their own."""
    texts = [draft.prompt + draft.new for draft in drafts]
    longest = max(map(len, texts))
    return torch.tensor([text + text[-1:] * (longest - len(text)) for text in texts], device=device)
