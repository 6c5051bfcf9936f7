"""What every model source gives: an identity without fetching, a shape without weights, and a folder when asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from fairtune.errors import ModelError
from fairtune.study import ModelChoice, ModelRef, Scratch

Say = Callable[[str], None]

TO_PLAN = "put its config.json into ./FOLDER and name `config: ./FOLDER`"
"""What helps where a model is to be planned and its source cannot be had."""


class NotHereError(ModelError):
    """A source that cannot be had now, and perhaps elsewhere or later: a model may be planned all the same."""


@dataclass(frozen=True)
class Resolved:
    """A source without relative paths, the commit where there is one, and a text that stands for the content."""

    source: str
    fingerprint: str
    revision: str | None = None
    scratch: Scratch | None = None


@dataclass(frozen=True)
class ModelShape:
    """What is known of a model without its weights.

    Attributes:
        config: a folder with its config.json, or what one says.
        folder: a folder with its tokenizer; None where there is none.
        stated_by: who says so, in words: its folder, the hub, the study, shipped with fairtune, …
        stored: torch's name of the type that most of its stored weights have (``bfloat16``); None where nobody says.
    """

    config: Path | Mapping[str, Any]
    folder: Path | None
    stated_by: str
    stored: str | None


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

    def outline(self, ref: ModelRef, root: Path) -> Resolved:
        """As ``resolve`` where there are weights; where there is but a configuration, what stands for that."""

    def shape(self, model: ModelChoice, say: Say) -> ModelShape | None:
        """What is known without weights, of which none are fetched; None for a model from scratch."""

    def describe(self, source: str, revision: str | None, say: Say) -> Path | None:
        """A local folder with config.json and tokenizer at least: enough to read data as the model does."""

    def fetch(self, source: str, revision: str | None, say: Say) -> Path | None:
        """A local folder with config.json, tokenizer and safetensors; None where weights are made, not fetched."""
