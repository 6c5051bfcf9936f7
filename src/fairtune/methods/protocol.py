"""What a method is: one object that says what it trains and how it attaches to a model."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from fairtune.study import Precision, Strict

if TYPE_CHECKING:
    from fairtune.models.load import LanguageModel


class Method(Protocol):
    """A way to adapt a model. One file a method; nothing outside this room knows any by name.

    Importing a method is light; what needs torch or PEFT is imported by the functions.
    """

    name: str
    summary: str
    """What is trained, in a few words."""
    paper: str | None
    trains: bool
    """False for the untouched model."""
    options: type[Strict]
    default_learning_rate: float | None
    learning_rate_reason: str | None
    devices: tuple[str, ...]
    """Kinds of device it is written for; only the CPU has been run."""
    precisions: tuple[Precision, ...]
    artifact: str | None
    """Folder of a run that holds the result: ``adapter``, ``model``, or None where nothing is trained."""

    def attach(self, model: LanguageModel, options: dict[str, Any], seed: int) -> None:
        """Wraps ``model.network`` where needed, and marks with ``requires_grad`` what is trained.

        Raises:
            SpecError: the options do not suit the model.
        """

    def save(self, model: LanguageModel, folder: Path) -> None:
        """Writes what was trained as safetensors."""

    def scoring(self, model: LanguageModel) -> AbstractContextManager[None]:
        """While active, the network computes the same as in training, as fast as that can be had."""
