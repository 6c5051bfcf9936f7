"""ddp: every process holds all weights and a share of the data; gradients are added up once an update.

Not torch's DistributedDataParallel. It averages over processes, where the loss here is a mean over the tokens of the
whole update. It reduces gradients in the weights' own type, and its reducer and the optimizer's hooks, which move bf16
gradients into fp32 sums as they appear (train/optimizer.py), would take them from each other. What it offers instead,
sending while the last backward pass still runs, is worth little where an update has several micro-batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from fairtune.data import Encoded
from fairtune.methods import Tuned
from fairtune.models.rows import Batching
from fairtune.train.parallel.group import ProcessGroup
from fairtune.train.parallel.parts import Part, divided
from fairtune.train.parallel.same import require_same_weights

BUCKET_BYTES = 64 * 2**20


class Replicated:
    """Weights stay equal to the bit: all begin with the same, and all make the same step from the same sums."""

    def __init__(self, group: ProcessGroup) -> None:
        self.group = group
        self.keeps = group.rank == 0

    def wrap(self, tuned: Tuned) -> None:
        """Makes sure that all begin alike.

        Raises:
            ModelError: they do not.
        """
        require_same_weights(tuned.model.network, self.group)

    def parts(self, examples: Sequence[Encoded], batching: Batching) -> Iterator[Part]:
        """May be none, where there are fewer examples than processes."""
        return divided(examples, self.group.ranks, self.group.rank, batching, even=False)

    def reduce(self, tensors: Sequence[Tensor]) -> None:
        """Sums in the gradients' own type, fp32. One that is missing here and not elsewhere was zero here."""
        there = self.group.largest([float(tensor.grad is not None) for tensor in tensors])
        gradients = [_gradient(tensor) for tensor, somewhere in zip(tensors, there, strict=True) if somewhere]
        for bucket in _buckets(gradients):
            _add_up(bucket)

    def whole(self, tuned: Tuned, again: Callable[[], Tuned]) -> Tuned:
        """Every process has it."""
        return tuned


def _gradient(tensor: Tensor) -> Tensor:
    if tensor.grad is None:
        tensor.grad = torch.zeros_like(tensor)
    return tensor.grad


def _buckets(gradients: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Few and large messages, without a second copy of everything."""
    bucket: list[Tensor] = []
    for gradient in gradients:
        if bucket and sum(held.nbytes for held in bucket) + gradient.nbytes > BUCKET_BYTES:
            yield bucket
            bucket = []
        bucket.append(gradient)
    if bucket:
        yield bucket


def _add_up(bucket: list[Tensor]) -> None:
    flat = torch.cat([gradient.reshape(-1) for gradient in bucket])
    dist.all_reduce(flat)
    totals = torch.split(flat, [gradient.numel() for gradient in bucket])
    for gradient, total in zip(bucket, totals, strict=True):
        gradient.copy_(total.view_as(gradient))
