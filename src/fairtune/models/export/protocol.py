"""What a form of export is given, and what it must do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from fairtune.study import RunSpec

if TYPE_CHECKING:
    import torch

    from fairtune.models.load import LanguageModel


@dataclass(frozen=True)
class Finished:
    """A finished run: what it was asked, where its result lies, and how to have it as one plain model."""

    spec: RunSpec
    base: Path
    """Local folder with the configuration and the tokenizer of the run's model."""
    adapter: Path | None
    """What the run saved, if that is to be put on the base; None where the run has a whole model."""
    merged: Callable[[], LanguageModel]
    """The run's model in fp32, on the CPU, an adapter merged into it."""
    opened: Callable[[Path, torch.device], LanguageModel]
    """The run's model with the adapter that lies in a folder."""
    code: str | None
    """In which code the base was quantised; None where it was not."""
    longest: int
    """Tokens of the longest example of the task; decides how attention is computed."""


class ExportFormat(Protocol):
    """A form in which a run's model can be taken elsewhere. One file a form."""

    summary: str
    """What is written, in a few words."""
    types: tuple[str, ...]
    """Number formats to choose from, the usual one first; empty where the run's precision decides."""

    def require(self, run: Finished) -> None:
        """Looks whether the run can have this form, before anything large is done.

        Raises:
            ModelError: it cannot; the message says why, and what can be done instead.
        """

    def write(self, run: Finished, folder: Path, type_name: str) -> tuple[str, ...]:
        """Writes the files into an empty folder.

        Returns:
            remarks for people: what the form cannot say, what a user must know.

        Raises:
            ModelError: the form has no words for something of this model.
            BudgetError: no space.
        """

    def load(self, run: Finished, folder: Path, device: torch.device) -> tuple[LanguageModel, tuple[str, ...]]:
        """Loads the files again, as their users will, and says what had to be helped."""
