"""From a study file to RunSpecs: names looked up, data read and checked, models identified. No torch, no weights."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fairtune.data import Leaks, Splits, load_splits
from fairtune.data.augment import AUGMENTATIONS
from fairtune.data.shapes.columns import shown
from fairtune.data.shapes.labels import parse
from fairtune.errors import ModelError, Problem, SpecError, suggest
from fairtune.evaluate.metrics import METRICS, Facts, Metric, metrics_of
from fairtune.execute.alike import NO_MATTER
from fairtune.execute.augment import beyond_data, resolve_augment
from fairtune.execute.benchmarks import find_benchmarks
from fairtune.execute.confined import beyond_sandbox
from fairtune.execute.leaks import find_leaks
from fairtune.execute.limits import beyond_limits
from fairtune.methods import METHODS, Method
from fairtune.models import identify
from fairtune.models.automatic import automatic_precision
from fairtune.study import (
    AugmentWords,
    JudgeChoice,
    LoadedStudy,
    MethodWords,
    Precision,
    RunSpec,
    Search,
    Task,
    Vocabulary,
    expand_cells,
    find_pairs,
    load_study,
    resolve_judge,
)
from fairtune.study.expand import IdentifyModel
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
    cells: tuple[RunSpec | Search, ...] = ()
    """The same runs, those of a method that is tuned together: what they are its trials decide."""

    @property
    def searches(self) -> list[Search]:
        """Methods that are tuned."""
        return [cell for cell in self.cells if isinstance(cell, Search)]

    @property
    def settled(self) -> list[RunSpec]:
        """Runs that are known before any trial."""
        return [cell for cell in self.cells if isinstance(cell, RunSpec)]

    @property
    def shapes(self) -> list[RunSpec]:
        """Runs to be planned: of a method that is tuned every one that trials may choose, if a plan tells it apart."""
        shapes = [shapes_of(cell) if isinstance(cell, Search) else [cell] for cell in self.cells]
        return list({spec.run_id: spec for group in shapes for spec in group}.values())

    @functools.cached_property
    def leaks(self) -> Leaks:
        """What the leak check finds in the data."""
        return find_leaks(self.loaded.task, self.splits, self.splits.fingerprint())


def shapes_of(search: Search) -> list[RunSpec]:
    """Every run that its trials may choose, if a plan tells it apart."""
    return search.shapes(NO_MATTER)


def read_request(path: Path, weights: bool = True, automatic: Precision | None = None) -> Request:
    """Reads a study file and resolves everything it names.

    Args:
        weights: whether models must have any, as they must to be run; a configuration is enough to plan them.

        automatic: what ``precision: auto`` stands for; what suits this machine if absent.

    Raises:
        SpecError: the file is wrong.
        DataError: its data cannot be used.
        ModelError: a model cannot be found.
    """
    words = vocabulary()
    identified = functools.partial(identify, weights=weights)
    loaded = load_study(path, words)
    if "auto" in loaded.study.precision:
        loaded = loaded.with_automatic(automatic or automatic_precision(loaded.study.budget.device))
    splits = load_splits(loaded.task, loaded.task_root)
    problems = [
        *_unsuited(loaded, splits),
        *beyond_sandbox(loaded),
        *beyond_data(loaded.augments, splits),
        *_nothing_to_choose_on(loaded, splits),
    ]
    if problems:
        raise SpecError(problems, str(path))
    cells = expand_cells(
        loaded,
        words,
        identified,
        splits.fingerprint(),
        functools.partial(resolve_augment, weights=weights),
        splits.labels,
        find_benchmarks(loaded, str(path)),
    )
    specs = [spec for cell in cells for spec in (cell.drafts if isinstance(cell, Search) else (cell,))]
    request = Request(loaded, tuple(specs), splits, cells=tuple(cells))
    problems = [*beyond_limits(request.shapes), *_wrong_margins(loaded, specs)]
    if problems:
        raise SpecError(problems, str(path))
    judge, pairs = _judge(loaded, specs, identified, str(path))
    return replace(request, judge=judge, pairs=tuple(pairs))


def _judge(
    loaded: LoadedStudy, specs: Sequence[RunSpec], identified: IdentifyModel, where: str
) -> tuple[JudgeChoice | None, list[tuple[RunSpec, RunSpec]]]:
    """The judge that the study names, and what it is to compare."""
    asked = loaded.study.judge
    if asked is None:
        return None, []
    try:
        return resolve_judge(asked, loaded.root, identified), find_pairs(asked.against, specs)
    except SpecError as error:
        raise SpecError(error.problems, where) from None
    except ModelError as error:
        raise SpecError([Problem("judge.model", str(error))], where) from None


def _wrong_margins(loaded: LoadedStudy, specs: Sequence[RunSpec]) -> Iterator[Problem]:
    """Margins of numbers that the study does not have, or that nothing can be lost of."""
    known = {name: metric for spec in specs[:1] for name, metric in metrics_of(spec).items()}
    for name in loaded.study.margins:
        if name not in known:
            yield Problem(f"margins.{name}", f"the study has no such number; {suggest(name, known)}")
        elif known[name].higher_is_better is None:
            yield Problem(f"margins.{name}", "neither way is better by itself, so nothing can be lost; leave it out")


def _nothing_to_choose_on(loaded: LoadedStudy, splits: Splits) -> list[Problem]:
    if loaded.terms is None or len(splits.validation):
        return []
    told = (
        "`tune` chooses by validation loss, and the validation part is empty; give a share, a number of rows or a file"
    )
    return [Problem("task.validation", told)]


def _nothing_to_judge(loaded: LoadedStudy, facts: Facts) -> list[Problem]:
    """Why there are no answers that a judge could compare."""
    if loaded.study.judge is None:
        return []
    if facts.plain_text:
        told = "compares answers, and plain text has none; leave `judge` out, or give a task of questions and answers"
        return [Problem("judge", told)]
    if any(METRICS[name].needs == "generation" for name in loaded.metrics):
        return []
    writing = [name for name, metric in METRICS.items() if metric.needs == "generation" and metric.fits(facts) is None]
    asked = ", ".join(loaded.metrics) or "benchmarks alone"
    told = f"compares written answers, and no metric of this study ({asked}) has any written; add one to `evaluate`: "
    return [Problem("judge", told + ", ".join(writing))]


def _unsuited(loaded: LoadedStudy, splits: Splits) -> list[Problem]:
    """What the file asks for and its data cannot give."""
    facts = facts_of(loaded.task, splits)
    possible = ", ".join(name for name, metric in METRICS.items() if metric.fits(facts) is None)
    problems = [*_out_of_place(loaded, facts), *(unscorable(splits) if facts.scored else [])]
    for name in loaded.metrics:
        reason = METRICS[name].fits(facts)
        if reason:
            problems.append(Problem(loaded.place_of(name), f"{name} {reason}; possible: {possible}"))
        elif wrong := _first_wrong(METRICS[name].with_labels(splits.labels), splits):
            problems.append(Problem(loaded.place_of(name), f"{name}: {wrong}"))
    return problems + _nothing_to_judge(loaded, facts)


def facts_of(task: Task, splits: Splits) -> Facts:
    """What is known of a task before any model is."""
    return Facts(
        plain_text=splits.plain_text,
        labels=splits.labels,
        choices=splits.own_choices,
        scored=task.predict == "score",
        tests=all(example.checks for example in splits.test),
        samples=task.code.samples,
        drawn=task.generation.temperature > 0,
    )


def _out_of_place(loaded: LoadedStudy, facts: Facts) -> list[Problem]:
    """Keys of plain text, where there are answers."""
    about = {"samples": "samples are written for plain text", "stride": "a stride is one of windows of plain text"}
    asked = [] if facts.plain_text else [key for key in about if key in loaded.task.model_fields_set]
    return [Problem(f"task.{key}", f"{about[key]}; this task has answers") for key in asked]


def _first_wrong(metric: Metric, splits: Splits) -> str | None:
    """The first test item whose reference makes the metric's number meaningless, and how many there are."""
    if type(metric).objection is Metric.objection:
        return None  # it takes any, so nobody needs to go through them
    found = [(example, reason) for example in splits.test if (reason := metric.objection(example.answer)) is not None]
    if not found:
        return None
    (first, reason), others = found[0], len(found) - 1
    more = f" ({others:,} more of {len(splits.test):,} test items)" if others else ""
    return f"test item {first.id} ({first.where}): {reason}: {shown(first.answer)}{more}"


def unscorable(splits: Splits) -> list[Problem]:
    """Why answers cannot be chosen by likelihood: there is nothing to choose from, or no rule to choose by."""
    if splits.own_choices:
        return []
    if not splits.labels:
        told = "score chooses among labels, or among a row's own choices, and the task has neither; write generate"
        return [Problem("task.predict", told)]
    for part in splits.parts.values():
        for example in part:
            if parse(example.answer, splits.labels)[1]:
                told = f"row {example.id} ({example.where}) is {shown(example.answer)}"
                return [Problem("task.predict", f"score chooses among labels, and {told}; write generate")]
    if splits.label_sets and not len(splits.validation):
        told = "rows have several labels, or none, so the validation part decides how likely one must be; it is empty"
        return [Problem("task.validation", told)]
    return []
