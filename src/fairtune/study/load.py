"""From a study file to a checked Study: every problem of the file is told at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from fairtune.errors import Problem, SpecError, suggest
from fairtune.study.benchmark import BenchmarkRef
from fairtune.study.grid import Candidate, named_methods, parse_augments, parse_methods
from fairtune.study.problems import problems_of
from fairtune.study.spec import AugmentChoice, Precision, Study, Training
from fairtune.study.task import Task
from fairtune.study.tune import TUNE
from fairtune.study.tuned_options import Terms, shared_of, terms_of
from fairtune.study.vocabulary import Vocabulary
from fairtune.study.yaml_file import read_yaml


@dataclass(frozen=True)
class LoadedStudy:
    """A study whose names have been looked up.

    ``root`` is the folder that relative model paths start from; ``task_root`` the same for the task's data.
    """

    study: Study
    task: Task
    candidates: tuple[Candidate, ...]
    metrics: tuple[str, ...]
    root: Path
    task_root: Path
    augments: tuple[AugmentChoice | None, ...] = (None,)
    terms: Terms | None = None
    """How methods are tuned; None where the study does not ask for it."""

    def with_automatic(self, precision: Precision) -> LoadedStudy:
        """With a precision in the place of ``auto``."""
        resolved = list(dict.fromkeys(precision if asked == "auto" else asked for asked in self.study.precision))
        return replace(self, study=self.study.model_copy(update={"precision": resolved}))

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """The axis, once ``auto`` is resolved."""
        return tuple(precision for precision in self.study.precision if precision != "auto")

    def place_of(self, metric: str) -> str:
        """Where the file, or its task's, asks for a metric."""
        if self.study.evaluate is None:
            return f"task.metrics[{self.task.metrics.index(metric)}]"
        return f"evaluate[{self.study.evaluate.index(metric)}]"

    @property
    def benchmarks(self) -> dict[str, BenchmarkRef]:
        """The benchmarks that are asked for, by their place in the file."""
        asked = enumerate(self.study.evaluate or ())
        return {f"evaluate[{index}]": item for index, item in asked if isinstance(item, BenchmarkRef)}


def load_study(path: Path, vocabulary: Vocabulary) -> LoadedStudy:
    """Reads and checks a study file.

    Raises:
        SpecError: the file cannot be read, or holds unknown keys, names or values; all problems together.
    """
    raw = read_yaml(path)
    study, problems = _validate(Study, raw)
    root = path.resolve().parent
    task, task_root, task_problems = _load_task(raw.get("task"), root, vocabulary)
    candidates, terms, method_problems = _parse_methods(raw, study, vocabulary)
    augments, augment_problems = _parse_augments(raw, vocabulary)
    metrics = _metric_names(raw, task)
    unknown = _unknown_metrics(metrics, raw, vocabulary)
    problems = _without_parents([*problems, *task_problems, *method_problems, *augment_problems, *unknown])
    if problems or study is None or task is None:
        raise SpecError(problems, str(path))
    return LoadedStudy(study, task, tuple(candidates), metrics, root, task_root, tuple(augments), terms)


def load_task(path: Path) -> Task:
    """Reads and checks a task file.

    Raises:
        SpecError: as for a study.
    """
    task: Task | None
    task, problems = _validate(Task, read_yaml(path))
    if task is None:
        raise SpecError(problems, str(path))
    return task


def _validate(model: type[Any], raw: dict[str, Any], prefix: str = "") -> tuple[Any, list[Problem]]:
    try:
        return model.model_validate(raw), []
    except ValidationError as error:
        checked: type[BaseModel] = model
        return None, problems_of(error, checked, prefix)


def _load_task(value: Any, root: Path, vocabulary: Vocabulary) -> tuple[Task | None, Path, list[Problem]]:
    """The task itself, and the folder its own relative paths start from."""
    if isinstance(value, dict):
        task, problems = _validate(Task, value, "task")
        return task, root, problems
    if not isinstance(value, str):
        return None, root, []  # already a problem of the study
    if value in vocabulary.tasks:
        shipped = vocabulary.tasks[value]
        return load_task(shipped), shipped.parent, []
    file = root / value
    if file.suffix in {".yaml", ".yml"}:
        try:
            return load_task(file), file.parent, []
        except SpecError as error:
            return None, root, [Problem("task", str(error))]
    advice = suggest(value, vocabulary.tasks)
    return (
        None,
        root,
        [Problem("task", f"unknown task '{value}'; {advice}, or the path of a task file (.yaml)")],
    )


def _parse_methods(
    raw: dict[str, Any], study: Study | None, vocabulary: Vocabulary
) -> tuple[list[Candidate], Terms | None, list[Problem]]:
    asked = raw.get("methods")
    training = study.training if study else Training()
    if asked is None:
        return [], None, []
    entries = asked if isinstance(asked, list) else [asked]
    if study is None or study.tune is None:
        # Where the study itself is wrong, nobody knows whether a method's own `tune` is.
        candidates, problems = parse_methods(entries, vocabulary, training)
        unknown = raw.get(TUNE) is not None
        return candidates, None, [found for found in problems if not (unknown and f".{TUNE}" in found.path)]
    shared, wrong = shared_of(study.tune, named_methods(entries, vocabulary))
    candidates, problems = parse_methods(entries, vocabulary, training, shared)
    terms, nothing = terms_of(shared, [candidate.space for candidate in candidates])
    return candidates, terms, [*wrong, *problems, *([] if wrong or problems else nothing)]


def _parse_augments(raw: dict[str, Any], vocabulary: Vocabulary) -> tuple[list[AugmentChoice | None], list[Problem]]:
    entries = raw.get("augment")
    if entries is None:
        return [None], []
    return parse_augments(entries if isinstance(entries, list) else [entries], vocabulary)


def _metric_names(raw: dict[str, Any], task: Task | None) -> tuple[str, ...]:
    asked = raw.get("evaluate")
    if asked is None:
        return task.metrics if task else ()
    return tuple(
        dict.fromkeys(item for item in (asked if isinstance(asked, list) else [asked]) if isinstance(item, str))
    )


def _unknown_metrics(names: Iterable[str], raw: dict[str, Any], vocabulary: Vocabulary) -> list[Problem]:
    asked = raw.get("evaluate")
    where = "task.metrics" if asked is None else "evaluate"
    places = asked if isinstance(asked, list) else list(names)
    return [
        Problem(f"{where}[{places.index(name)}]", f"unknown metric '{name}'; {suggest(name, vocabulary.metrics)}")
        for name in names
        if name not in vocabulary.metrics
    ]


def _without_parents(problems: list[Problem]) -> list[Problem]:
    """``task`` is left out where ``task.train`` already says what is wrong with it."""
    paths = [problem.path for problem in problems]
    return [
        problem
        for problem in dict.fromkeys(problems)
        if not any(other.startswith((f"{problem.path}.", f"{problem.path}[")) for other in paths if problem.path)
    ]
