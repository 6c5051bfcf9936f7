"""What every model source gives: an identity without fetching, and a folder of safetensors when asked, if any."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fairtune.study import ModelRef, Scratch

Say = Callable[[str], None]


@dataclass(frozen=True)
class Resolved:
    """A source without relative paths, the commit where there is one, and a text that stands for the content."""

    source: str
    fingerprint: str
    revision: str | None = None
    scratch: Scratch | None = None


class ModelSource(Protocol):
    """A kind of place that weights come from."""

    def claims(self, ref: ModelRef, root: Path) -> bool:
        """Whether the reference is to a place of this kind."""

    def short_name(self, ref: ModelRef) -> str:
        """What tables call the model."""

    def resolve(self, ref: ModelRef, root: Path) -> Resolved:
        """The same place, said so that it means the same in any folder, and what stands for its content.

        Fetches nothing large.
        """

    def describe(self, source: str, revision: str | None, say: Say) -> Path | None:
        """A local folder with config.json and tokenizer at least: enough to read data as the model does."""

    def fetch(self, source: str, revision: str | None, say: Say) -> Path | None:
        """A local folder with config.json, tokenizer and safetensors; None where weights are made, not fetched."""
