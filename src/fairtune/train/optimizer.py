"""AdamW whose state is fp32, whatever the precision of the weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch

from fairtune.errors import DivergedError
from fairtune.study import Training


class MasterAdamW:
    """AdamW (Loshchilov & Hutter 2017) on fp32 master copies of the trainable parameters.

    An fp32 parameter is its own master. For a bf16 parameter, gradients are added up in fp32 as soon as they
    appear and updates happen on the copy: a bf16 weight alone swallows updates below 2**-9 of itself.
    """

    def __init__(self, parameters: Iterable[torch.nn.Parameter], training: Training) -> None:
        self.parameters = list(parameters)
        self.masters = [_master(parameter) for parameter in self.parameters]
        self._hooks = [
            parameter.register_post_accumulate_grad_hook(_gradient_mover(master))  # type: ignore[no-untyped-call]
            for parameter, master in self._copied()
        ]
        self.adamw = torch.optim.AdamW(
            self.masters, lr=0.0, betas=(0.9, 0.999), eps=1e-8, weight_decay=training.weight_decay, fused=True
        )
        self.max_grad_norm = training.max_grad_norm

    def step(self, learning_rate: float) -> float:
        """One update from the gradients gathered since the last.

        Returns:
            L2 norm of the gradients before clipping.

        Raises:
            DivergedError: the norm is not finite; no weight has moved.
        """
        norm = float(torch.nn.utils.clip_grad_norm_(self.masters, self.max_grad_norm))
        if not math.isfinite(norm):
            raise DivergedError(f"the gradient's norm is {norm}")
        for group in self.adamw.param_groups:
            group["lr"] = learning_rate
        self.adamw.step()
        self.adamw.zero_grad(set_to_none=True)
        with torch.no_grad():
            for parameter, master in self._copied():
                parameter.copy_(master)
        return norm

    def close(self) -> None:
        """Takes the hooks off and drops the state, so that scoring has the memory."""
        for hook in self._hooks:
            hook.remove()
        self.adamw.state.clear()
        self.masters.clear()

    def _copied(self) -> list[tuple[torch.nn.Parameter, torch.Tensor]]:
        pairs = zip(self.parameters, self.masters, strict=True)
        return [(parameter, master) for parameter, master in pairs if parameter is not master]


def _master(parameter: torch.nn.Parameter) -> torch.Tensor:
    return parameter if parameter.dtype == torch.float32 else parameter.detach().float()


def _gradient_mover(master: torch.Tensor) -> Callable[[torch.Tensor], None]:
    def move(parameter: torch.Tensor) -> None:
        if parameter.grad is None:
            return
        if master.grad is None:
            master.grad = parameter.grad.float()
        else:
            master.grad += parameter.grad
        parameter.grad = None

    return move
