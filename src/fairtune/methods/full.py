"""Full fine-tuning: every weight moves.

In bf16 the optimizer keeps fp32 master copies (train/optimizer.py); the network computes with their rounding.
"""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairtune.study import Precision, Strict

if TYPE_CHECKING:
    from fairtune.models.load import LanguageModel


class FullOptions(Strict):
    """None of its own; the training recipe can be overridden."""


class Full:
    """Every weight is trained."""

    name = "full"
    summary = "every weight"
    paper: str | None = None
    trains = True
    options: type[Strict] = FullOptions
    default_learning_rate: float | None = 2e-5
    learning_rate_reason: str | None = (
        "the usual rate for instruction tuning of whole models: every weight moves, so each must move little"
    )
    devices: tuple[str, ...] = ("cpu", "cuda", "mps")
    precisions: tuple[Precision, ...] = ("fp32", "bf16")
    artifact: str | None = "model"

    def attach(self, model: LanguageModel, options: dict[str, Any], seed: int) -> None:
        """Every parameter requires a gradient."""
        model.network.requires_grad_(True)

    def save(self, model: LanguageModel, folder: Path) -> None:
        """The whole model and its tokenizer, as ``save_pretrained`` lays them out."""
        model.network.save_pretrained(folder)
        model.tokenizer.save_pretrained(folder)
        model.generation_defaults.save_pretrained(folder)

    def scoring(self, model: LanguageModel) -> AbstractContextManager[None]:
        """The model as it is."""
        return contextlib.nullcontext()
