"""What a model thinks of given next tokens: log-probabilities, and whether they are its first choice. No gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.functional import linear

from fairtune.models.packing import Numbers
from fairtune.models.precision import type_of_products

if TYPE_CHECKING:
    from fairtune.models.load import LanguageModel

# Rows of logits that exist at once: as many as stay in a processor's cache.
_ROWS = 64


@torch.no_grad()
def predictions(
    model: LanguageModel,
    inputs: dict[str, Any],
    chosen: torch.Tensor,
    targets: torch.Tensor,
    of: Numbers,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities of tokens, in nats, ``(asked,)`` in fp32; and which of them are the likeliest, ``(asked,)``.

    Of equally likely tokens the first counts as the likeliest.

    Args:
        inputs: what the network is called with.
        chosen: ``(rows, length)``, True where the next token is asked for.
        targets: ``(asked,)``, tokens.
        of: ``(asked,)``, which of the chosen positions predicts each; counted row after row.
    """
    layer = plain_layer(model)
    if layer is None:
        with model.computing(), model.gate.only(chosen):
            logits = model.network(**inputs).logits
        return _looked_up(lambda rows: logits[rows], len(logits), targets.to(model.device), of)
    with model.computing(), model.gate.taking(chosen) as taken:
        model.network(**inputs)
        compute = type_of_products(model.device, layer.weight.dtype)
    hidden = taken[0].to(compute)
    weight, bias = (None if part is None else part.to(compute) for part in (layer.weight, layer.bias))
    return _looked_up(lambda rows: linear(hidden[rows], weight, bias), len(hidden), targets.to(model.device), of)


def plain_layer(model: LanguageModel) -> torch.nn.Linear | None:
    """The output layer, where its products are the logits as they are; it need not see all rows at once then."""
    layer = model.gate.layer
    return layer if model.batching.fused and type(layer) is torch.nn.Linear else None


def _looked_up(
    logits_of: Callable[[slice], torch.Tensor], positions: int, targets: torch.Tensor, of: Numbers
) -> tuple[torch.Tensor, torch.Tensor]:
    """A few rows of logits at a time. Nothing is fetched from the device, whatever is asked of a position."""
    greedy = torch.empty(len(targets), dtype=torch.bool, device=targets.device)
    log_p = torch.empty(len(targets), dtype=torch.float32, device=targets.device)
    order = np.argsort(of, kind="stable")
    cuts = np.searchsorted(of[order], np.arange(0, positions + _ROWS, _ROWS))
    for start, first, last in zip(range(0, positions, _ROWS), cuts, cuts[1:], strict=False):
        scores = logits_of(slice(start, start + _ROWS)).log_softmax(-1, dtype=torch.float32)
        mine = torch.from_numpy(order[first:last]).to(targets.device)
        rows = torch.from_numpy(of[order[first:last]] - start).to(targets.device)
        log_p[mine] = scores[rows, targets[mine]]
        greedy[mine] = scores.argmax(-1)[rows] == targets[mine]
    return log_p, greedy
