"""The names a study may use, handed to the study room by whoever knows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fairtune.study.spec import Strict


@dataclass(frozen=True)
class MethodWords:
    """What the study room needs to know of a method."""

    options: type[Strict]
    trains: bool
    default_learning_rate: float | None


@dataclass(frozen=True)
class Vocabulary:
    """Methods by name, metric versions by name, task files by name."""

    methods: Mapping[str, MethodWords]
    metrics: Mapping[str, int]
    tasks: Mapping[str, Path]
