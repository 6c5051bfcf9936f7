"""Output layer and cross-entropy in one: never more than a few rows of logits at a time."""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

from fairtune.models.precision import type_of_products

# Rows of logits that exist at once. 64 rows of 49,152 in fp32 are 12 MB, which stays in a processor's cache.
_ROWS = 64
# Where the layer is trained, each part of its gradient is as large as the layer: fewer and larger ones.
_TRAINED_ROWS = 256


def linear_cross_entropy(hidden: torch.Tensor, layer: torch.nn.Linear, answers: torch.Tensor) -> torch.Tensor:
    """``cross_entropy(layer(hidden), answers, reduction="none")``, ``(tokens,)`` in fp32, in nats.

    The gradient of a token's loss with respect to its logits is ``softmax - onehot``, whatever comes after; so where
    the layer is frozen, the backward pass is done at once, on the rows of logits at hand. Where it is trained, they
    are computed a second time. Memory: ``tokens × width`` instead of ``tokens × vocabulary``.

    Args:
        hidden: ``(tokens, width)``.
        answers: ``(tokens,)``, the right token of each.
    """
    compute = type_of_products(hidden.device, layer.weight.dtype)
    weight, bias = (None if part is None else part.to(compute) for part in (layer.weight, layer.bias))
    trained = torch.is_grad_enabled() and any(part.requires_grad for part in layer.parameters())
    way: Any = _TrainedLayer if trained else _FrozenLayer
    with torch.autocast(hidden.device.type, enabled=False):
        losses: torch.Tensor = way.apply(hidden.to(compute), weight, bias, answers)
    return losses


class _FrozenLayer(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, answers: torch.Tensor
    ) -> torch.Tensor:
        losses = hidden.new_empty(len(hidden), dtype=torch.float32)
        toward = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        for start in range(0, len(hidden), _ROWS):
            rows = slice(start, start + _ROWS)
            log_p, losses[rows] = _scored(hidden[rows], weight, bias, answers[rows])
            if toward is not None:
                torch.mm(_less_one(log_p, answers[rows]).to(hidden.dtype), weight, out=toward[rows])
        ctx.save_for_backward(toward)
        return losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (toward,) = ctx.saved_tensors
        return toward * grad.to(toward.dtype).unsqueeze(-1), None, None, None


class _TrainedLayer(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, answers: torch.Tensor
    ) -> torch.Tensor:
        losses = hidden.new_empty(len(hidden), dtype=torch.float32)
        for start in range(0, len(hidden), _TRAINED_ROWS):
            rows = slice(start, start + _TRAINED_ROWS)
            _, losses[rows] = _scored(hidden[rows], weight, bias, answers[rows])
        ctx.save_for_backward(hidden, weight, bias, answers)
        return losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        hidden, weight, bias, answers = ctx.saved_tensors
        toward = torch.empty_like(hidden)
        # Summed over chunks in fp32, which rounds once, as one product of all rows would.
        of_weight, of_bias = (
            torch.zeros_like(part, dtype=torch.float32) if needed else None
            for part, needed in zip((weight, bias), ctx.needs_input_grad[1:3], strict=True)
        )
        for start in range(0, len(hidden), _TRAINED_ROWS):
            rows = slice(start, start + _TRAINED_ROWS)
            log_p, _ = _scored(hidden[rows], weight, bias, answers[rows])
            error = _less_one(log_p, answers[rows]).mul_(grad[rows].unsqueeze(-1))
            if of_bias is not None:
                of_bias += error.sum(0)
            exact = error.to(hidden.dtype)
            torch.mm(exact, weight, out=toward[rows])
            if of_weight is not None:
                of_weight += exact.t() @ hidden[rows]
        return toward, *(None if part is None else part.to(weight.dtype) for part in (of_weight, of_bias)), None


def _scored(
    hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, answers: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities ``(rows, vocabulary)`` in fp32, and the losses ``(rows,)``."""
    log_p = linear(hidden, weight, bias).log_softmax(-1, dtype=torch.float32)
    return log_p, -log_p.gather(1, answers.unsqueeze(1)).squeeze(1)


def _less_one(log_p: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
    """``softmax - onehot``, in place of the log-probabilities."""
    column = answers.unsqueeze(1)
    return log_p.exp_().scatter_add_(1, column, torch.full_like(column, -1, dtype=torch.float32))
