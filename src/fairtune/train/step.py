"""ONE training step: the only place where a loss is made and weights move."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from fairtune.data import Encoded
from fairtune.errors import DivergedError
from fairtune.methods import Tuned
from fairtune.train.optimizer import MasterAdamW
from fairtune.train.parallel import ALONE, World


@dataclass(frozen=True)
class StepResult:
    """Loss in nats per supervised token over the whole update; gradient norm before clipping; token counts.

    ``tokens`` are those of the examples; ``computed`` those the network saw, ``padding`` among them.
    ``grad_norm`` is None where the update was skipped, since gradients did not fit (train/scaling.py).
    """

    loss: float
    grad_norm: float | None
    tokens: int
    supervised: int
    computed: int
    padding: int


def step(
    tuned: Tuned,
    batch: Sequence[Encoded],
    optimizer: MasterAdamW,
    learning_rate: float,
    done: int,
    world: World = ALONE,
) -> StepResult:
    """One optimizer update on a batch of examples.

    The loss is the mean over all supervised tokens of the update, so every token weighs the same however the
    batch is cut into micro-batches or divided among processes. A method's penalty moves the weights too, and is no part
    of the loss that is told.

    Args:
        done: number of this update, from 1.

    Raises:
        DivergedError: the loss or the gradient is not finite; no weight has moved.
    """
    supervised = sum(item.answer_tokens for item in batch)
    total = torch.zeros((), device=tuned.model.device)
    computed = padding = 0
    for part in world.parts(batch, tuned.model.batching_now):
        losses = tuned.objective(part.examples)
        optimizer.scaling.scaled(part.weight * losses.sum() / supervised).backward()  # type: ignore[no-untyped-call]
        total += losses.detach().sum() * part.weight
        computed, padding = computed + part.computed, padding + part.padding
    summed, *counts = world.group.sum([float(total), computed, padding])
    loss = summed / supervised
    if not math.isfinite(loss):
        raise DivergedError(f"the loss is {loss}")
    world.reduce(optimizer.masters)
    _penalise(tuned, optimizer)
    norm = optimizer.step(learning_rate)
    tuned.updated(done)
    optimizer.clear()
    tokens = sum(len(item.tokens) for item in batch)
    return StepResult(loss, norm, tokens, supervised, *map(int, counts))


def _penalise(tuned: Tuned, optimizer: MasterAdamW) -> None:
    penalty = tuned.penalty()
    if penalty is not None:
        optimizer.scaling.scaled(penalty).backward()  # type: ignore[no-untyped-call]
