"""The one forward pass that training and scoring share: what the model gives to tokens that carry loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy

from fairtune.data import Encoded, lengths_of, micro_batches
from fairtune.models.load import LanguageModel

# Padded tokens of a micro-batch. On a CPU about 512 to 1,024 fit the cache best (docs/log.md). An update, or a
# test set, is cut into as many as it needs; the cut never changes a result.
TOKEN_BUDGET = 512


def supervised_logits(
    model: LanguageModel, batch: Sequence[Encoded]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What the model gives where a supervised token of a batch is to be predicted.

    Rows are padded on the right and no attention mask is given: in a causal model no token sees what follows it,
    so padding cannot reach a score. Logits are computed only where a supervised token is predicted.

    Returns:
        logits ``(tokens, vocabulary)`` in fp32, the supervised tokens ``(tokens,)``, and for each the row of the batch
        it belongs to, ``(tokens,)``.
    """
    tokens, supervised = _padded(batch, model.device)
    predicts = supervised[:, 1:]  # position t predicts token t + 1, and the last position predicts nothing
    with model.computing(), model.gate.only(predicts):
        logits = model.network(input_ids=tokens[:, :-1], use_cache=False).logits
    return logits.float(), tokens[:, 1:][predicts], predicts.nonzero()[:, 0]


def supervised_losses(model: LanguageModel, batch: Sequence[Encoded]) -> tuple[torch.Tensor, torch.Tensor]:
    """Negative log-likelihoods, in nats, of the supervised tokens of a batch.

    Returns:
        losses ``(tokens,)`` in fp32, and for each the row of the batch it belongs to, ``(tokens,)``.
    """
    logits, answers, rows = supervised_logits(model, batch)
    return cross_entropy(logits, answers, reduction="none"), rows


@dataclass(frozen=True)
class ItemLoss:
    """Negative log-likelihood of an item's supervised tokens, summed, in nats; and how many there are."""

    loss: float
    tokens: int


See = Callable[[int, torch.Tensor], None]


@torch.no_grad()
def item_losses(
    model: LanguageModel,
    examples: Sequence[Encoded],
    done: Callable[[int], None] = lambda _: None,
    see: See | None = None,
) -> list[ItemLoss]:
    """The loss of every example, in order, none cut.

    Args:
        done: told how many examples are scored so far.
        see: shown the position of every example and its logits ``(supervised tokens, vocabulary)``, fp32, on the CPU.
    """
    model.network.eval()
    scored: dict[int, ItemLoss] = {}
    for micro in micro_batches(lengths_of(examples), TOKEN_BUDGET):
        batch = [examples[row] for row in micro.rows]
        logits, targets, rows = supervised_logits(model, batch)
        losses, rows = cross_entropy(logits, targets, reduction="none").cpu(), rows.cpu()
        sums = torch.zeros(len(micro.rows), dtype=torch.float64).index_add_(0, rows, losses.double())
        for position, row in enumerate(micro.rows):
            scored[row] = ItemLoss(float(sums[position]), batch[position].answer_tokens)
            if see is not None:
                see(row, logits[(rows == position).to(logits.device)].cpu())
        done(len(scored))
    return [scored[row] for row in range(len(examples))]


def _padded(batch: Sequence[Encoded], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """``(rows, length)`` of tokens, and of whether each carries loss. The first of a row never does."""
    length = max(len(item.tokens) for item in batch)
    tokens = torch.zeros((len(batch), length), dtype=torch.long)
    supervised = torch.zeros((len(batch), length), dtype=torch.bool)
    for row, item in enumerate(batch):
        tokens[row, : len(item.tokens)] = torch.tensor(item.tokens)
        supervised[row, 1 : len(item.tokens)] = torch.tensor(item.supervised[1:])
    return tokens.to(device), supervised.to(device)
