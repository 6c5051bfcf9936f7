"""The one forward pass that training and scoring share: what the model gives to tokens that carry loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from fairtune.data import Encoded
from fairtune.models.cross_entropy import linear_cross_entropy
from fairtune.models.predictions import plain_layer, predictions
from fairtune.models.rows import Laid, packed, padded

if TYPE_CHECKING:
    from fairtune.models.load import LanguageModel


def supervised_logits(
    model: LanguageModel, batch: Sequence[Encoded]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What the model gives where a supervised token of a batch is to be predicted; nothing else becomes logits.

    Returns:
        logits ``(tokens, vocabulary)`` in fp32, the supervised tokens ``(tokens,)``, and for each the row of the batch
        it belongs to, ``(tokens,)``.
    """
    laid = _laid(model, batch)
    with model.computing(), model.gate.only(laid.predicts):
        logits = model.network(**laid.arguments()).logits
    return logits.float(), laid.answers, laid.texts


def supervised_losses(model: LanguageModel, batch: Sequence[Encoded]) -> tuple[torch.Tensor, torch.Tensor]:
    """Negative log-likelihoods, in nats, of the supervised tokens of a batch.

    Returns:
        losses ``(tokens,)`` in fp32, and for each the row of the batch it belongs to, ``(tokens,)``.
    """
    layer = plain_layer(model)
    if layer is None:
        logits, answers, texts = supervised_logits(model, batch)
        return cross_entropy(logits, answers, reduction="none"), texts
    laid = _laid(model, batch)
    with model.computing(), model.gate.taking(laid.predicts) as hidden:
        model.network(**laid.arguments())
        return linear_cross_entropy(hidden[0], layer, laid.answers), laid.texts


@torch.no_grad()
def supervised_hits(model: LanguageModel, batch: Sequence[Encoded]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The losses of :func:`supervised_losses`, whether each token is the likeliest at its place, and rows; no gradient.

    Looking for the likeliest costs a pass over the logits, so only who wants to know asks here.
    """
    laid = _laid(model, batch)
    each = np.arange(len(laid.answers))
    log_p, hits = predictions(model, laid.arguments(), laid.predicts, laid.answers, each)
    return -log_p, hits, laid.texts


def _laid(model: LanguageModel, batch: Sequence[Encoded]) -> Laid:
    batching = model.batching_now
    return packed(batch, batching.share, model.device) if batching.packed else padded(batch, model.device)


@dataclass(frozen=True)
class ItemLoss:
    """Negative log-likelihood of an item's supervised tokens, summed, in nats; and how many there are.

    ``hits``: how many of them are the likeliest at their place; None where nobody asked.
    """

    loss: float
    tokens: int
    hits: int | None = None


See = Callable[[int, torch.Tensor], None]


@torch.no_grad()
def item_losses(
    model: LanguageModel,
    examples: Sequence[Encoded],
    done: Callable[[int], None] = lambda _: None,
    see: See | None = None,
    hits: bool = False,
) -> list[ItemLoss]:
    """The loss of every example, in order, none cut.

    Args:
        done: told how many examples are scored so far.
        see: shown the position of every example and its logits ``(supervised tokens, vocabulary)``, fp32, on the CPU.
        hits: whether to look for the likeliest tokens, too.
    """
    model.network.eval()
    scored: dict[int, ItemLoss] = {}
    for micro in model.batching_now.cut(examples):
        batch = [examples[row] for row in micro.rows]
        right = None
        if see is None and hits:
            losses, right, texts = supervised_hits(model, batch)
        elif see is None:
            losses, texts = supervised_losses(model, batch)
        else:
            logits, answers, texts = supervised_logits(model, batch)
            losses = cross_entropy(logits, answers, reduction="none")
        losses, texts = losses.cpu(), texts.cpu()
        sums = _by_text(losses, texts, len(batch))
        found = None if right is None else _by_text(right.cpu(), texts, len(batch))
        for position, row in enumerate(micro.rows):
            own = None if found is None else int(found[position])
            scored[row] = ItemLoss(float(sums[position]), batch[position].answer_tokens, own)
            if see is not None:
                see(row, logits[(texts == position).to(logits.device)].cpu())
        done(len(scored))
    return [scored[row] for row in range(len(examples))]


def _by_text(numbers: torch.Tensor, texts: torch.Tensor, count: int) -> torch.Tensor:
    """Sums of tokens' numbers over each text, ``(texts,)``."""
    return torch.zeros(count, dtype=torch.float64).index_add_(0, texts, numbers.double())
