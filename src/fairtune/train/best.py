"""Keeps the weights of the best epoch on disk while training goes on."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch

from fairtune.errors import DivergedError
from fairtune.methods import Tuned
from fairtune.train.parallel.shards import own_of
from fairtune.train.state import State, TensorFile, write_tensors


class BestWeights:
    """Trainable weights of the epoch with the lowest validation loss so far."""

    def __init__(self, tuned: Tuned, file: Path) -> None:
        self.file = file
        self._tuned = tuned
        self._trainable = {name: p for name, p in tuned.model.network.named_parameters() if p.requires_grad}
        self._kept: Any = None
        self.losses: list[float] = []
        self.epoch: int | None = None

    def offer(self, loss: float, write: bool) -> None:
        """Takes an epoch's validation loss; the earliest of equal ones is the best.

        Args:
            write: keep the weights if they are the best so far; not needed when no epoch follows.

        Raises:
            DivergedError: the loss is not finite.
        """
        if not math.isfinite(loss):
            raise DivergedError(f"the validation loss after epoch {len(self.losses) + 1} is {loss}")
        better = not self.losses or loss < min(self.losses)
        self.losses.append(loss)
        if better:
            self.epoch = len(self.losses)
            if write:
                write_tensors(self.file, {name: own_of(weight) for name, weight in self._trainable.items()})
                self._kept = self._tuned.kept()

    @property
    def since(self) -> int:
        """Epochs after the best."""
        return len(self.losses) - (self.epoch or 0)

    def state(self) -> State:
        """What is known of the epochs so far, and the weights of the best if they are kept."""
        facts = {"losses": self.losses, "epoch": self.epoch, "kept": self._kept}
        return State(TensorFile(self.file) if self.file.exists() else {}, facts)

    def restore(self, state: State) -> None:
        """Takes the place of the one that had this state."""
        self.losses, self.epoch, self._kept = list(state.facts["losses"]), state.facts["epoch"], state.facts["kept"]
        if state.tensors:
            write_tensors(self.file, state.tensors)

    def put_back(self) -> None:
        """Puts the best epoch's weights back, unless they are the last epoch's anyway."""
        if self.epoch is not None and self.epoch < len(self.losses):
            kept = TensorFile(self.file)
            with torch.no_grad():
                for name, weights in self._trainable.items():
                    own_of(weights).copy_(kept[name])
            self._tuned.put_back(self._kept)
        self.file.unlink(missing_ok=True)
