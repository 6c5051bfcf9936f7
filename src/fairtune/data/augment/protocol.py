"""What a kind of augmentation is, and what it is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Annotated, Any

from pydantic import Field

from fairtune.data.augment.translator import Translator
from fairtune.study import ModelRef, Strict
from fairtune.study.fields import Number


class Options(Strict):
    """What every kind that changes something has."""

    ratio: Annotated[Number, Field(gt=0, le=100)] = Field(
        default=1.0, description="examples added, for each that there is; above 1, several variants of each"
    )


class TextOptions(Options):
    """What every kind that changes words has."""

    answers: bool = Field(default=False, description="change the answers too; a label or code must not change")


@dataclass(frozen=True)
class Tools:
    """What a kind may need and this room does not have.

    Attributes:
        root: folder that relative paths of the options start from.
        cache: folder for what is worth keeping from one run to the next.
        translator: opens the model that an option names; by the option's name and its value.
    """

    root: Path
    cache: Path
    translator: Callable[[str, Mapping[str, Any]], Translator]


Change = Callable[[Sequence[str], Random], list[str]]
"""The changeable texts of one example to as many others."""

Drop = Callable[[Sequence[int], Random], frozenset[int]]
"""Of the positions of one example's prompt that may go, those that do."""


def _nothing(options: Any, root: Path) -> str:
    return ""


def _no_models(options: Any) -> Mapping[str, ModelRef]:
    return {}


@dataclass(frozen=True)
class Augmentation:
    """A way to make more training examples. One file a kind; nothing outside this room knows any by name.

    It works on text (``words``), or on the tokens of a prompt (``tokens``), or changes nothing.
    """

    name: str
    summary: str
    paper: str | None
    options: type[Strict]
    words: Callable[[Any, Sequence[str], Tools], Change] | None = None
    """By the options, and all the texts that it will be given: so that what is slow is done once, for all of them."""
    tokens: Callable[[Any], Drop] | None = None
    fingerprint: Callable[[Any, Path], str] = _nothing
    """What stands for the content of the files that the options name; relative paths start from the folder.

    Raises SpecError where a file is missing or wrong.
    """
    models: Callable[[Any], Mapping[str, ModelRef]] = _no_models
    """The models that the options name, by option."""
    places: tuple[str, ...] = ()
    """Options that name files or models. Their content has fingerprints, so a run's id does not hold their paths."""

    @property
    def changes(self) -> bool:
        """Whether it adds anything."""
        return self.words is not None or self.tokens is not None
