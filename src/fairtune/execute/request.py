"""From a study file to RunSpecs: names looked up, data read and checked, models identified. No torch, no weights."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fairtune.data import Leaks, Splits, load_splits
from fairtune.data.augment import AUGMENTATIONS
from fairtune.errors import Problem, SpecError
from fairtune.evaluate.metrics import METRICS, Facts
from fairtune.execute.augment import beyond_data, resolve_augment
from fairtune.execute.benchmarks import find_benchmarks
from fairtune.execute.confined import beyond_sandbox
from fairtune.execute.leaks import find_leaks
from fairtune.execute.limits import beyond_limits
from fairtune.methods import METHODS, Method
from fairtune.models import identify
from fairtune.study import AugmentWords, LoadedStudy, MethodWords, RunSpec, Task, Vocabulary, expand, load_study
from fairtune.tasks import TASKS


def vocabulary() -> Vocabulary:
    """Everything a study may name, from the tables of the rooms that know."""
    methods = {
        name: MethodWords(method.options, method.trains, functools.partial(_default_rate, method), method.open)
        for name, method in METHODS.items()
    }
    metrics = {name: metric.version for name, metric in METRICS.items()}
    kinds = {name: AugmentWords(kind.options, kind.changes) for name, kind in AUGMENTATIONS.items()}
    of_labels = frozenset(name for name, metric in METRICS.items() if metric.of_labels)
    return Vocabulary(methods, metrics, TASKS, kinds, of_labels)


def _default_rate(method: Method, options: Mapping[str, Any]) -> float | None:
    return method.acting(options).learning_rate


@dataclass(frozen=True)
class Request:
    """A study, its runs in order, and its data."""

    loaded: LoadedStudy
    specs: tuple[RunSpec, ...]
    splits: Splits

    @functools.cached_property
    def leaks(self) -> Leaks:
        """What the leak check finds in the data."""
        return find_leaks(self.loaded.task, self.splits, self.splits.fingerprint())


def read_request(path: Path) -> Request:
    """Reads a study file and resolves everything it names.

    Raises:
        SpecError: the file is wrong.
        DataError: its data cannot be used.
        ModelError: a model cannot be found.
    """
    words = vocabulary()
    loaded = load_study(path, words)
    splits = load_splits(loaded.task, loaded.task_root)
    problems = [*_unsuited(loaded, splits), *beyond_sandbox(loaded), *beyond_data(loaded.augments, splits)]
    if problems:
        raise SpecError(problems, str(path))
    specs = expand(
        loaded,
        words,
        identify,
        splits.fingerprint(),
        resolve_augment,
        splits.labels,
        find_benchmarks(loaded, str(path)),
    )
    problems = beyond_limits(specs)
    if problems:
        raise SpecError(problems, str(path))
    return Request(loaded, tuple(specs), splits)


def _unsuited(loaded: LoadedStudy, splits: Splits) -> list[Problem]:
    """What the file asks for and its data cannot give."""
    facts = facts_of(loaded.task, splits)
    problems = []
    if not facts.plain_text and "samples" in loaded.task.model_fields_set:
        problems.append(Problem("task.samples", "samples are written for plain text; this task has answers"))
    possible = ", ".join(name for name, metric in METRICS.items() if metric.fits(facts) is None)
    for name in loaded.metrics:
        reason = METRICS[name].fits(facts)
        if reason:
            problems.append(Problem(loaded.place_of(name), f"{name} {reason}; possible: {possible}"))
    return problems


def facts_of(task: Task, splits: Splits) -> Facts:
    """What is known of a task before any model is."""
    return Facts(
        plain_text=splits.plain_text,
        labels=splits.labels,
        tests=all(example.checks for example in splits.test),
        samples=task.code.samples,
        drawn=task.generation.temperature > 0,
    )
