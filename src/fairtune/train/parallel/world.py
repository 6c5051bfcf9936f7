"""What a training asks of those who take part in it; it never asks how many they are or what each holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from torch import Tensor

from fairtune.data import Encoded
from fairtune.methods import Tuned
from fairtune.models.rows import Batching
from fairtune.train.parallel.group import Group
from fairtune.train.parallel.parts import Part


class World(Protocol):
    """One strategy. Every process of a run has its own, and all make the same calls in the same order."""

    @property
    def group(self) -> Group:
        """The processes: which one this is, and numbers that all of them know."""

    @property
    def keeps(self) -> bool:
        """Whether this process holds trained weights that would be lost without it."""

    def wrap(self, tuned: Tuned) -> None:
        """Called once before the optimizer is made, which may find other parameters in the network afterwards."""

    def parts(self, examples: Sequence[Encoded], batching: Batching) -> Iterator[Part]:
        """This process's share of examples that all of them hold, in micro-batches."""

    def reduce(self, tensors: Sequence[Tensor]) -> None:
        """Makes every gradient the sum over all processes; called once an update, after its last micro-batch."""

    def whole(self, tuned: Tuned, again: Callable[[], Tuned]) -> Tuned:
        """After training: what one process alone would have now. Complete in the process of rank 0 only.

        Args:
            again: makes what ``tuned`` was before training, once more.
        """
