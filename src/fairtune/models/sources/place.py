"""What every model source gives: an identity without fetching, and a folder of safetensors when asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from fairtune.study import ModelRef

Say = Callable[[str], None]


class ModelSource(Protocol):
    """A kind of place that weights come from."""

    def claims(self, text: str, root: Path) -> bool:
        """Whether the text names a place of this kind."""

    def short_name(self, text: str) -> str:
        """What tables call the model."""

    def absolute(self, text: str, root: Path) -> str:
        """The same place, said so that it means the same in any folder."""

    def fingerprint(self, ref: ModelRef, root: Path) -> str:
        """A text that stands for the content of the weights. Fetches nothing large."""

    def fetch(self, source: str, revision: str | None, say: Say) -> Path:
        """A local folder with config.json, tokenizer and safetensors."""
