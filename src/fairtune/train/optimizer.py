"""AdamW whose state is fp32, whatever the precision of the weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch

from fairtune.methods import Tuned
from fairtune.study import Training
from fairtune.train.parallel.shards import own_of, whole_of
from fairtune.train.scaling import Scaling
from fairtune.train.state import State


class MasterAdamW:
    """AdamW (Loshchilov & Hutter 2017) on fp32 master copies of the trainable parameters.

    An fp32 parameter is its own master. For a bf16 parameter, gradients are added up in fp32 as soon as they
    appear and updates happen on the copy: a bf16 weight alone swallows updates below 2**-9 of itself.
    """

    def __init__(
        self, parameters: Iterable[tuple[torch.nn.Parameter, float]], training: Training, scaling: Scaling | None = None
    ) -> None:
        """Takes each parameter with what the learning rate is multiplied by for it.

        Args:
            scaling: by which losses were multiplied; by nothing if absent.
        """
        self.scaling = scaling or Scaling()
        self.parameters, factors = zip(*parameters, strict=True)
        self.masters = [_master(parameter) for parameter in self.parameters]
        self._hooks = [
            parameter.register_post_accumulate_grad_hook(_gradient_mover(master))  # type: ignore[no-untyped-call]
            for parameter, master in self._copied()
        ]
        groups = [
            {"params": [m for m, own in zip(self.masters, factors, strict=True) if own == factor], "factor": factor}
            for factor in dict.fromkeys(factors)
        ]
        self.adamw = _KINDS[training.optimizer](
            groups, lr=0.0, betas=(0.9, 0.999), eps=1e-8, weight_decay=training.weight_decay
        )
        self.max_grad_norm = training.max_grad_norm

    def step(self, learning_rate: float) -> float | None:
        """One update from the gradients gathered since the last; they stay, unscaled, until :meth:`clear`.

        Returns:
            L2 norm of the gradients before clipping; None for an update that was skipped, whose gradients are zero now.

        Raises:
            DivergedError: the norm is not finite, and another scale does not help; no weight has moved.
        """
        self.scaling.unscale(self.masters)
        norm = float(whole_of(torch.nn.utils.clip_grad_norm_(self.masters, self.max_grad_norm)))
        if not self.scaling.fits(norm):
            self.adamw.zero_grad(set_to_none=False)
            return None
        for group in self.adamw.param_groups:
            group["lr"] = learning_rate * group["factor"]
        self.adamw.step()
        with torch.no_grad():
            for parameter, master in self._copied():
                parameter.copy_(master)
        return norm

    def clear(self) -> None:
        """Forgets the gradients."""
        self.adamw.zero_grad(set_to_none=True)

    def state(self) -> State:
        """Masters, moments and counters, or this process's share of them, as they are now: not copies."""
        values = {
            f"{kind}.{index}": own_of(value) if isinstance(value, torch.Tensor) else value
            for index, master in enumerate(self.masters)
            for kind, value in {"master": master, **self.adamw.state.get(master, {})}.items()
        }
        tensors = {name: value for name, value in values.items() if isinstance(value, torch.Tensor)}
        return State(tensors, {name: value for name, value in values.items() if name not in tensors})

    @torch.no_grad()
    def restore(self, state: State) -> None:
        """Takes the place of the optimizer that had this state, and gives its weights to the parameters."""
        found = {_place(name) for name in (*state.tensors, *state.facts)}
        self.make_room({index for kind, index in found if kind != "master"})
        for name, tensor in state.tensors.items():
            kind, index = _place(name)
            master = self.masters[index]
            own_of(master if kind == "master" else self.adamw.state[master][kind]).copy_(tensor)
        for name, number in state.facts.items():
            kind, index = _place(name)
            self.adamw.state[self.masters[index]][kind] = number
        for parameter, master in self._copied():
            parameter.copy_(master)

    def make_room(self, indices: Iterable[int] | None = None) -> None:
        """Lets the optimizer make its state where and as it wants it: a step of no gradient at no rate.

        Args:
            indices: for these parameters; for all if absent.
        """
        for index in range(len(self.masters)) if indices is None else indices:
            self.masters[index].grad = torch.zeros_like(self.masters[index])
        for group in self.adamw.param_groups:
            group["lr"] = 0.0
        self.adamw.step()
        self.clear()

    def close(self) -> None:
        """Takes the hooks off and drops the state, so that scoring has the memory."""
        for hook in self._hooks:
            hook.remove()
        self.adamw.state.clear()
        self.masters.clear()

    def _copied(self) -> list[tuple[torch.nn.Parameter, torch.Tensor]]:
        pairs = zip(self.parameters, self.masters, strict=True)
        return [(parameter, master) for parameter, master in pairs if parameter is not master]


def optimizer_of(tuned: Tuned, training: Training) -> MasterAdamW:
    """The optimizer of what a method has marked as trainable."""
    trainable = [(name, p) for name, p in tuned.model.network.named_parameters() if p.requires_grad]
    return MasterAdamW(
        [(p, tuned.rate_factor(name)) for name, p in trainable], training, Scaling(tuned.model.precision)
    )


def _adamw(groups: Any, **settings: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups, fused=True, **settings)


def _adamw_8bit(groups: Any, **settings: Any) -> torch.optim.Optimizer:
    """State in blocks of 8-bit numbers (Dettmers et al. 2021, "8-bit Optimizers via Block-wise Quantization")."""
    import bitsandbytes

    return bitsandbytes.optim.AdamW8bit(groups, **settings)  # type: ignore[no-any-return]


def _paged_adamw_8bit(groups: Any, **settings: Any) -> torch.optim.Optimizer:
    """The same, in memory that a CUDA driver moves to the host when it is short. Not run: no GPU was at hand."""
    import bitsandbytes

    return bitsandbytes.optim.PagedAdamW8bit(groups, **settings)  # type: ignore[no-any-return]


_KINDS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adamw": _adamw,
    "adamw_8bit": _adamw_8bit,
    "paged_adamw_8bit": _paged_adamw_8bit,
}


def _place(name: str) -> tuple[str, int]:
    """``exp_avg.12`` is the first moment of the twelfth parameter."""
    kind, _, index = name.rpartition(".")
    return kind, int(index)


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
