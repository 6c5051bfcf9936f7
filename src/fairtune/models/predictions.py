"""What a model thinks of given next tokens: log-probabilities, and whether they are its first choice. No gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import linear

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
    of: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities of tokens, in nats, ``(asked,)`` in fp32; and which of them are the likeliest, ``(asked,)``.

    Args:
        inputs: what the network is called with.
        chosen: ``(rows, length)``, True where the next token is asked for.
        targets: ``(asked,)``, tokens.
        of: ``(asked,)``, which of the chosen positions predicts each; counted row after row.
    """
    if not (model.batching.fused and type(model.gate.layer) is torch.nn.Linear):
        with model.computing(), model.gate.only(chosen):
            logits = model.network(**inputs, use_cache=False).logits
        return _looked_up(lambda rows: logits[rows], len(logits), targets, of)
    layer = model.gate.layer
    with model.computing(), model.gate.taking(chosen) as taken:
        model.network(**inputs, use_cache=False)
        compute = type_of_products(model.device, layer.weight.dtype)
    hidden = taken[0].to(compute)
    weight, bias = (None if part is None else part.to(compute) for part in (layer.weight, layer.bias))
    return _looked_up(lambda rows: linear(hidden[rows], weight, bias), len(hidden), targets, of)


def _looked_up(
    logits_of: Any, positions: int, targets: torch.Tensor, of: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Nothing is fetched from the device, whatever is asked of a position."""
    largest = torch.empty(positions, dtype=torch.long, device=targets.device)
    log_p = torch.empty(len(targets), dtype=torch.float32, device=targets.device)
    order = of.argsort(stable=True)
    bounds = torch.searchsorted(of[order].contiguous(), torch.arange(0, positions + _ROWS, _ROWS, device=of.device))
    cuts = bounds.tolist()
    for number, start in enumerate(range(0, positions, _ROWS)):
        logits = logits_of(slice(start, start + _ROWS)).float()
        largest[start : start + _ROWS] = logits.argmax(-1)
        mine = order[cuts[number] : cuts[number + 1]]
        log_p[mine] = logits[of[mine] - start, targets[mine]] - logits.logsumexp(-1)[of[mine] - start]
    return log_p, largest[of] == targets
