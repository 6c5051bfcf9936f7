"""The untouched model: what every other run is compared with."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairtune.study import Precision, Strict

if TYPE_CHECKING:
    from fairtune.models.load import LanguageModel


class BaseOptions(Strict):
    """None."""


class Base:
    """Nothing is trained."""

    name = "base"
    summary = "nothing: the model as it comes"
    paper: str | None = None
    trains = False
    options: type[Strict] = BaseOptions
    default_learning_rate: float | None = None
    learning_rate_reason: str | None = None
    devices: tuple[str, ...] = ("cpu", "cuda", "mps")
    precisions: tuple[Precision, ...] = ("fp32", "bf16")
    artifact: str | None = None

    def attach(self, model: LanguageModel, options: dict[str, Any], seed: int) -> None:
        """Freezes everything."""
        model.network.requires_grad_(False)

    def save(self, model: LanguageModel, folder: Path) -> None:
        """There is nothing to save."""

    def scoring(self, model: LanguageModel) -> AbstractContextManager[None]:
        """The model as it is."""
        return contextlib.nullcontext()
