"""From a study file to RunSpecs: names looked up, data read and checked, models identified. No torch, no weights."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fairtune.data import Leaks, Splits, load_splits
from fairtune.data.augment import AUGMENTATIONS
from fairtune.errors import ModelError, Problem, SpecError
from fairtune.evaluate.metrics import METRICS, Facts
from fairtune.execute.augment import beyond_data, resolve_augment
from fairtune.execute.confined import beyond_sandbox
from fairtune.execute.leaks import find_leaks
from fairtune.execute.limits import beyond_limits
from fairtune.methods import METHODS, Method
from fairtune.models import identify
from fairtune.study import (
    AugmentWords,
    JudgeChoice,
    LoadedStudy,
    MethodWords,
    RunSpec,
    Vocabulary,
    expand,
    find_pairs,
    load_study,
    resolve_judge,
)
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
    judge: JudgeChoice | None = None
    pairs: tuple[tuple[RunSpec, RunSpec], ...] = ()
    """What the judge is to compare: runs, and those that they are compared with."""

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
    problems = [
        *_unsuited(loaded, splits),
        *_nothing_to_judge(loaded, splits),
        *beyond_sandbox(loaded),
        *beyond_data(loaded.augments, splits),
    ]
    if problems:
        raise SpecError(problems, str(path))
    specs = expand(loaded, words, identify, splits.fingerprint(), resolve_augment, splits.labels)
    problems = beyond_limits(specs)
    if problems:
        raise SpecError(problems, str(path))
    judge, pairs = _judge(loaded, specs, str(path))
    return Request(loaded, tuple(specs), splits, judge, tuple(pairs))


def _judge(
    loaded: LoadedStudy, specs: Sequence[RunSpec], where: str
) -> tuple[JudgeChoice | None, list[tuple[RunSpec, RunSpec]]]:
    """The judge that the study names, and what it is to compare."""
    asked = loaded.study.judge
    if asked is None:
        return None, []
    try:
        return resolve_judge(asked, loaded.root, identify), find_pairs(asked.against, specs)
    except SpecError as error:
        raise SpecError(error.problems, where) from None
    except ModelError as error:
        raise SpecError([Problem("judge.model", str(error))], where) from None


def _nothing_to_judge(loaded: LoadedStudy, splits: Splits) -> list[Problem]:
    """Why there are no answers that a judge could compare."""
    if loaded.study.judge is None:
        return []
    if splits.plain_text:
        told = "compares answers, and plain text has none; leave `judge` out, or give a task of questions and answers"
        return [Problem("judge", told)]
    if any(METRICS[name].needs == "generation" for name in loaded.metrics):
        return []
    facts = _facts(loaded, splits)
    writing = [name for name, metric in METRICS.items() if metric.needs == "generation" and metric.fits(facts) is None]
    told = f"compares written answers, and no metric of this study ({', '.join(loaded.metrics)}) has any written; "
    return [Problem("judge", f"{told}add one to `evaluate`: {', '.join(writing)}")]


def _unsuited(loaded: LoadedStudy, splits: Splits) -> list[Problem]:
    """What the file asks for and its data cannot give."""
    facts = _facts(loaded, splits)
    problems = []
    if not facts.plain_text and "samples" in loaded.task.model_fields_set:
        problems.append(Problem("task.samples", "samples are written for plain text; this task has answers"))
    where = "evaluate" if loaded.study.evaluate is not None else "task.metrics"
    possible = ", ".join(name for name, metric in METRICS.items() if metric.fits(facts) is None)
    for index, name in enumerate(loaded.metrics):
        reason = METRICS[name].fits(facts)
        if reason:
            problems.append(Problem(f"{where}[{index}]", f"{name} {reason}; possible: {possible}"))
    return problems + _nothing_to_judge(loaded, splits)


def _facts(loaded: LoadedStudy, splits: Splits) -> Facts:
    task = loaded.task
    return Facts(
        plain_text=splits.plain_text,
        labels=splits.labels,
        tests=all(example.checks for example in splits.test),
        samples=task.code.samples,
        drawn=task.generation.temperature > 0,
    )
