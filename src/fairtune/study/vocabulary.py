"""The names a study may use, handed to the study room by whoever knows them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fairtune.study.fields import Strict

TEACHER = "teacher"
"""The option that names another model, or another run."""


@dataclass(frozen=True)
class MethodWords:
    """What the study room needs to know of a method."""

    options: type[Strict]
    trains: bool
    default_learning_rate: Callable[[Mapping[str, Any]], float | None]
    """By the options, all filled in."""
    open: bool = False
    """Whether keys that the options do not name are allowed; a list is then one value, not a grid."""

    @property
    def has_teacher(self) -> bool:
        """Whether a run of it learns from another model."""
        return TEACHER in self.options.model_fields


@dataclass(frozen=True)
class AugmentWords:
    """What the study room needs to know of a kind of augmentation."""

    options: type[Strict]
    changes: bool
    """False for the kind that leaves the training examples as they are."""


@dataclass(frozen=True)
class Vocabulary:
    """Methods by name, metric versions by name, task files by name, kinds of augmentation by name."""

    methods: Mapping[str, MethodWords]
    metrics: Mapping[str, int]
    tasks: Mapping[str, Path]
    augmentations: Mapping[str, AugmentWords] = field(default_factory=dict)
    of_labels: frozenset[str] = frozenset()
    """Metrics whose numbers are those of a label set."""
