"""Keeps the weights of the best epoch on disk while training goes on."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from fairtune.errors import DivergedError
from fairtune.methods import Tuned
from fairtune.train.parallel.shards import own_of


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
                weights = {name: own_of(weight).detach().contiguous() for name, weight in self._trainable.items()}
                save_file(weights, self.file)
                self._kept = self._tuned.kept()

    def restore(self) -> None:
        """Puts the best epoch's weights back, unless they are the last epoch's anyway."""
        if self.epoch is not None and self.epoch < len(self.losses):
            kept = load_file(self.file)
            with torch.no_grad():
                for name, weights in self._trainable.items():
                    own_of(weights).copy_(kept[name])
            self._tuned.put_back(self._kept)
        self.file.unlink(missing_ok=True)
