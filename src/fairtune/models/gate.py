"""Stands before the output layer, and lets through only what must become logits."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch


class OutputGate:
    """Picks the hidden states that the output layer sees; works for every architecture, wrapped or not.

    A vocabulary is large: 49,152 logits for each of 544 positions took a fifth of a training step where 118
    positions were scored.
    """

    def __init__(self, output_layer: torch.nn.Module) -> None:
        self.layer = output_layer
        self._chosen: torch.Tensor | None = None
        self._taken: list[torch.Tensor] | None = None
        self._hook = output_layer.register_forward_pre_hook(self._pass)

    def move_to(self, output_layer: torch.nn.Module) -> None:
        """A method may have wrapped the output layer: the gate then stands before the wrapper."""
        self._hook.remove()
        self.layer = output_layer
        self._hook = output_layer.register_forward_pre_hook(self._pass)

    @contextlib.contextmanager
    def only(self, chosen: torch.Tensor) -> Iterator[None]:
        """While active, logits are ``(positions, vocabulary)``, for the True positions of ``(rows, length)``."""
        self._chosen = chosen
        try:
            yield
        finally:
            self._chosen = None

    @contextlib.contextmanager
    def taking(self, chosen: torch.Tensor) -> Iterator[list[torch.Tensor]]:
        """While active, the chosen hidden states ``(positions, width)`` come into the list; the layer is given none."""
        self._taken = []
        try:
            with self.only(chosen):
                yield self._taken
        finally:
            self._taken = None

    def _pass(self, layer: torch.nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        hidden = inputs[0]
        if self._chosen is not None:
            # Virtual tokens of a method stand before the text: they predict nothing that is scored.
            virtual = hidden.shape[1] - self._chosen.shape[1]
            found = hidden[:, virtual:][self._chosen]
            if self._taken is not None:
                self._taken.append(found)
                found = found[:0]
            return (found, *inputs[1:])
        # Generation asks for the last position alone, a strided slice. Multiplying one by a frozen weight, torch
        # takes the batched product and copies the weight once a row: 64 rows of SmolLM2 took 3.6 GB and 6.7 s.
        return (hidden.contiguous(), *inputs[1:])
