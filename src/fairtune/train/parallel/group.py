"""The processes of a run as such: numbers go round, weights and gradients are the strategies' business."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.distributed as dist


class Group(Protocol):
    """Rank 0 is the one that writes."""

    @property
    def rank(self) -> int:
        """This process, from 0."""

    @property
    def ranks(self) -> int:
        """How many processes there are."""

    def sum(self, numbers: Sequence[float]) -> list[float]:
        """Each number added up over all processes, in fp64."""

    def largest(self, numbers: Sequence[float]) -> list[float]:
        """Of each number, the largest of all processes."""

    def barrier(self) -> None:
        """Waits until all have come here."""

    def close(self) -> None:
        """Leaves, together with the others."""


@dataclass(frozen=True)
class OneProcess:
    """Nobody else."""

    rank: int = 0
    ranks: int = 1

    def sum(self, numbers: Sequence[float]) -> list[float]:
        """They are the sums."""
        return list(numbers)

    def largest(self, numbers: Sequence[float]) -> list[float]:
        """They are the largest."""
        return list(numbers)

    def barrier(self) -> None:
        """Nobody to wait for."""

    def close(self) -> None:
        """Nobody to leave."""


@dataclass(frozen=True)
class ProcessGroup:
    """The default group of ``torch.distributed``. Numbers travel through the hosts' memory, whatever the device."""

    rank: int
    ranks: int

    def sum(self, numbers: Sequence[float]) -> list[float]:
        """All-reduce; every process gets the same bits."""
        return _reduced(numbers, dist.ReduceOp.SUM)

    def largest(self, numbers: Sequence[float]) -> list[float]:
        """All-reduce."""
        return _reduced(numbers, dist.ReduceOp.MAX)

    def barrier(self) -> None:
        """An all-reduce of nothing much: NCCL's own barrier takes a device for it."""
        self.sum([0.0])

    def close(self) -> None:
        """Nobody goes before the last has come: whoever goes first takes its connections with it."""
        self.barrier()
        dist.destroy_process_group()


def _reduced(numbers: Sequence[float], how: dist.ReduceOp.RedOpType) -> list[float]:
    values = torch.tensor(numbers, dtype=torch.float64)
    dist.all_reduce(values, op=how)
    result: list[float] = values.tolist()
    return result
