"""How the texts of a micro-batch become what a network is given: packed into one row, or padded, a text a row."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from fairtune.data import Encoded, MicroBatch, micro_batches, packs, shared_beginning
from fairtune.models.packing import Packing, lay

# Texts that are sorted at once, where there are more than memory should hold.
AT_ONCE = 4096


@dataclass(frozen=True)
class Batching:
    """How an update, or a test set, is cut and laid out. Nothing of it changes a result beyond rounding.

    Attributes:
        budget: tokens of a micro-batch. 1,024 are quickest on the CPU at hand (docs/log.md), and memory grows with it.
        packed: texts end to end in one row; else one a row, padded on the right.
        share: what packed texts begin with is computed once.
        branches: texts may have beginnings in common on many levels, some of them computed in an earlier pass.
        fused: output layer and cross-entropy a few rows at a time, where nothing needs logits.
    """

    budget: int = 1024
    packed: bool = False
    share: bool = True
    branches: bool = False
    fused: bool = True

    def within(self, tokens: int | None) -> Batching:
        """The same with another budget; with this one for None."""
        return self if tokens is None else replace(self, budget=tokens)

    def cut(self, batch: Sequence[Encoded]) -> Iterator[MicroBatch]:
        """Every text once, similar ones together."""
        for start in range(0, len(batch), AT_ONCE):
            part = [batch[row] for row in range(start, min(start + AT_ONCE, len(batch)))]
            if self.packed:
                found = packs(part, self.budget, self.share)
            else:
                found = micro_batches([item.needed for item in part], self.budget)
            for micro in found:
                yield MicroBatch(tuple(start + row for row in micro.rows), micro.computed, micro.padding)


@dataclass(frozen=True)
class Laid:
    """A micro-batch as tensors.

    ``tokens`` ``(rows, length)``; ``predicts``, of the same shape: where the next token carries loss; ``answers`` and
    ``texts`` ``(supervised tokens,)``: those tokens, and which text of the batch each belongs to, text after text.
    """

    tokens: torch.Tensor
    predicts: torch.Tensor
    answers: torch.Tensor
    texts: torch.Tensor
    packing: Packing | None = None

    def arguments(self) -> dict[str, Any]:
        """What the network is called with.

        Padded rows need no attention mask: in a causal model no token sees what follows it.
        """
        given: dict[str, Any] = {"input_ids": self.tokens, "use_cache": False}
        if self.packing is not None:
            given |= self.packing.arguments()
        return given


def padded(batch: Sequence[Encoded], device: torch.device) -> Laid:
    """A text a row, padded on the right."""
    length = max(item.needed for item in batch)
    tokens = torch.zeros((len(batch), length), dtype=torch.long)
    predicts = torch.zeros((len(batch), length), dtype=torch.bool)
    for row, item in enumerate(batch):
        tokens[row, : item.needed] = torch.tensor(item.tokens[: item.needed])
        predicts[row, : item.needed] = torch.tensor(item.supervised[1 : item.needed + 1])
    answers, texts = _answers(batch)
    return Laid(tokens.to(device), predicts.to(device), answers.to(device), texts.to(device))


def packed(batch: Sequence[Encoded], share: bool, device: torch.device) -> Laid:
    """All texts in one row, after what all of them begin with."""
    shared = shared_beginning(batch) if share and len(batch) > 1 else 0
    lengths = [item.needed - shared for item in batch]
    tokens = [*batch[0].tokens[:shared], *_joined(item.tokens[shared : item.needed] for item in batch)]
    predicts = [*(False,) * shared, *_joined(item.supervised[shared + 1 : item.needed + 1] for item in batch)]
    positions = np.concatenate([np.arange(shared), *(shared + np.arange(length) for length in lengths)])
    stops = shared + np.cumsum(lengths)
    ends = np.concatenate([np.full(shared, stops[-1]), np.repeat(stops, lengths)])
    answers, owners = _answers(batch)
    return Laid(
        torch.tensor([tokens]).to(device),
        torch.tensor([predicts]).to(device),
        answers.to(device),
        owners.to(device),
        lay(positions, ends, device),
    )


def _answers(batch: Sequence[Encoded]) -> tuple[torch.Tensor, torch.Tensor]:
    found = [list(itertools.compress(item.tokens[1:], item.supervised[1:])) for item in batch]
    texts = np.repeat(np.arange(len(batch)), [len(own) for own in found])
    return torch.tensor(list(_joined(found)), dtype=torch.long), torch.from_numpy(texts)


def _joined(parts: Any) -> Iterator[Any]:
    return itertools.chain.from_iterable(parts)
