"""Two models on the same items: logits, losses and answers side by side, one model in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fairtune.data import Encoded
from fairtune.errors import ModelError
from fairtune.evaluate.generation import Answer, write
from fairtune.models.likelihood import ItemLoss, See, item_losses
from fairtune.models.load import LanguageModel
from fairtune.study import Generation

# Logits of the first model wait on disk for the second. A vocabulary is large: 200 items of 8 tokens and SmolLM2's
# 49,152 logits are 0.3 GB.
ROOM_BYTES = 2 << 30
_GREEDY = Generation()


class LogitFile:
    """Logits of one model, kept for comparison with another's; of as many items, in order, as there is room for."""

    def __init__(self, path: Path, items: Sequence[Encoded], room_bytes: int = ROOM_BYTES) -> None:
        self._path = path
        self._ends = np.cumsum([item.answer_tokens for item in items]).tolist()
        self._room = room_bytes
        self._kept: Any = None
        self.largest = 0.0
        self._sum = 0.0
        self.positions = 0

    @property
    def of(self) -> int:
        """Positions of all items."""
        return int(self._ends[-1])

    @property
    def mean(self) -> float:
        """Mean absolute difference so far."""
        return self._sum / max(1, self.positions * int(self._kept.shape[1]))

    def keep(self, row: int, logits: torch.Tensor) -> None:
        """Stores an item's logits ``(supervised tokens, vocabulary)``."""
        if self._kept is None:
            self._kept = np.memmap(self._path, np.float32, "w+", shape=self._shape(logits.shape[1]))
        start, end = self._span(row)
        if end <= len(self._kept):
            self._kept[start:end] = logits.numpy()

    def compare(self, row: int, logits: torch.Tensor) -> None:
        """Takes the other model's logits of an item.

        Raises:
            ModelError: another vocabulary.
        """
        start, end = self._span(row)
        if logits.shape[1] != self._kept.shape[1]:
            raise ModelError(f"the export has {logits.shape[1]} logits a token, the run {self._kept.shape[1]}")
        if end > len(self._kept):
            return
        apart = np.abs(self._kept[start:end] - logits.numpy())
        # A number that is not finite must not vanish: NaN stays the largest.
        self.largest = float(np.maximum(self.largest, apart.max()))
        self._sum += float(apart.sum(dtype=np.float64))
        self.positions += end - start

    def _shape(self, vocabulary: int) -> tuple[int, int]:
        """As many whole items as there is room for, and at least the first."""
        fitting = [end for end in self._ends if end * vocabulary * 4 <= self._room]
        return (fitting or self._ends)[-1 if fitting else 0], vocabulary

    def _span(self, row: int) -> tuple[int, int]:
        return (self._ends[row - 1] if row else 0), self._ends[row]


@dataclass(frozen=True)
class Seen:
    """What one model did: the loss of each item, and its answer where there was room for one."""

    losses: list[ItemLoss]
    answers: list[Answer] | None

    @property
    def loss(self) -> float:
        """Nats per token of the reference answers."""
        return sum(item.loss for item in self.losses) / self.tokens

    @property
    def tokens(self) -> int:
        """Tokens of the reference answers."""
        return sum(item.tokens for item in self.losses)


def observe(
    model: LanguageModel,
    items: Sequence[Encoded],
    max_new_tokens: int,
    see: See,
    how: Generation = _GREEDY,
    seeds: Sequence[int] | None = None,
    done: Callable[[int], None] = lambda _: None,
) -> Seen:
    """Scores and answers every item.

    Args:
        how: how answers are written, ``seeds``, one an item, their draws: those of the run, so that answers differ
            where the model does.
        see: is shown every item's logits.
        done: told how many answers there are so far.
    """
    losses = item_losses(model, items, see=see)
    if not answerable(model, items, max_new_tokens):
        return Seen(losses, None)
    prompts = [item.prompt for item in items]
    return Seen(losses, write(model, prompts, max_new_tokens, how, seeds, done))


def answerable(model: LanguageModel, items: Sequence[Encoded], max_new_tokens: int) -> bool:
    """Whether every prompt and its answer fit the context."""
    return model.context is None or max(item.prompt_length for item in items) + max_new_tokens <= model.context
