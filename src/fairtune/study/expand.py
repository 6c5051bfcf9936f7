"""From a study to its runs: ordered, without repeats, each named by its content."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fairtune.errors import Problem, SpecError, suggest
from fairtune.study.benchmark import BenchmarkChoice
from fairtune.study.grid import Candidate
from fairtune.study.load import LoadedStudy
from fairtune.study.run_ids import content_of, run_id
from fairtune.study.search import Refine, Search
from fairtune.study.spec import (
    AugmentChoice,
    MetricChoice,
    ModelChoice,
    ModelRef,
    Precision,
    RunSpec,
    TaskChoice,
    Training,
)
from fairtune.study.teacher import find_teacher
from fairtune.study.vocabulary import Vocabulary

IdentifyModel = Callable[[ModelRef, Path], ModelChoice]
ResolveAugment = Callable[[AugmentChoice, Path], AugmentChoice]


def _as_it_is(choice: AugmentChoice, root: Path) -> AugmentChoice:
    return choice


def expand(
    loaded: LoadedStudy,
    vocabulary: Vocabulary,
    identify_model: IdentifyModel,
    task_fingerprint: str,
    resolve_augment: ResolveAugment = _as_it_is,
    labels: tuple[str, ...] = (),
    benchmarks: Sequence[BenchmarkChoice] = (),
) -> list[RunSpec]:
    """The RunSpecs of a study, as :func:`expand_cells`; of a method that is tuned, runs whose options are open."""
    given = (loaded, vocabulary, identify_model, task_fingerprint, resolve_augment, labels, benchmarks)
    return [run for cell in expand_cells(*given) for run in (cell.drafts if isinstance(cell, Search) else (cell,))]


def expand_cells(
    loaded: LoadedStudy,
    vocabulary: Vocabulary,
    identify_model: IdentifyModel,
    task_fingerprint: str,
    resolve_augment: ResolveAugment = _as_it_is,
    labels: tuple[str, ...] = (),
    benchmarks: Sequence[BenchmarkChoice] = (),
) -> list[RunSpec | Search]:
    """The RunSpecs of a study, in the order models × precisions × methods × augmentations × seeds.

    All seeds of a method that is tuned are one :class:`Search`. A method that does not train has one run, whatever the
    seeds and augmentations: of the first seed, which is where the weights of an untrained model from scratch come from.
    Two cells that ask for the same thing are one.

    Args:
        identify_model: resolves a model to the fingerprint of its weights (models room).
        task_fingerprint: hash of the task's rows and their split (data room).
        resolve_augment: says what stands for the files and models that an augmentation uses (data and models rooms).
        labels: label set of the task's rows, in the order of answers (data room).
        benchmarks: what every run is scored on besides its task, looked up (evaluate room).
    """
    models = _told_apart([identify_model(ref, loaded.root) for ref in loaded.study.models])
    _require_models(loaded, models)
    task = TaskChoice(task=loaded.task, root=str(loaded.task_root), fingerprint=task_fingerprint, labels=labels)
    augments = [choice and resolve_augment(choice, loaded.root) for choice in loaded.augments]
    cells = [
        (candidate, list(_seeded(loaded, vocabulary, model, task, precision, candidate, augment)))
        for model in models
        for precision in loaded.precisions
        for candidate in loaded.candidates
        if candidate.models is None or model.name in candidate.models
        for augment in (augments if candidate.choice.trains else (None,))
    ]
    found: dict[str, RunSpec | Search] = {}
    # Who teaches comes before who learns.
    for candidate, drafts in sorted(cells, key=lambda cell: vocabulary.methods[cell[0].choice.name].has_teacher):
        learns, before = vocabulary.methods[candidate.choice.name].has_teacher, list(found.values())
        taught = [_taught(draft, before, loaded, identify_model) if learns else draft for draft in drafts]
        whole = [draft.model_copy(update={"benchmarks": tuple(benchmarks)}) for draft in taught]
        for cell in _named(whole, candidate, loaded, vocabulary):
            found.setdefault((cell.first if isinstance(cell, Search) else cell).run_id, cell)
    return list(found.values())


def _named(
    drafts: list[RunSpec], candidate: Candidate, loaded: LoadedStudy, vocabulary: Vocabulary
) -> list[RunSpec | Search]:
    if not candidate.space or loaded.terms is None:
        return [draft.model_copy(update={"run_id": run_id(draft)}) for draft in drafts]
    refine = _refine(candidate, loaded, vocabulary)
    return [Search.of(drafts, candidate.space, loaded.terms.sampler, loaded.terms.trials, refine)]


def _refine(candidate: Candidate, loaded: LoadedStudy, vocabulary: Vocabulary) -> Refine:
    words = vocabulary.methods[candidate.choice.name]

    def refine(run: RunSpec, values: Mapping[str, Any]) -> RunSpec:
        made = candidate.with_values(values, words, loaded.study.training)
        return run.model_copy(update={"method": made.choice, "training": _training(loaded, vocabulary, made)})

    return refine


def _taught(
    draft: RunSpec, before: Sequence[RunSpec | Search], loaded: LoadedStudy, identify: IdentifyModel
) -> RunSpec:
    runs = [cell for cell in before if isinstance(cell, RunSpec)]
    tuned = [cell.first for cell in before if isinstance(cell, Search)]
    teacher = find_teacher(draft, runs, lambda ref: identify(ref, loaded.root), tuned)
    return draft.model_copy(update={"teacher": teacher})


def _require_models(loaded: LoadedStudy, models: list[ModelChoice]) -> None:
    names = [model.name for model in models]
    wrong = [
        Problem(f"methods.{candidate.choice.name}.models", f"no model is called '{name}'; {suggest(name, names)}")
        for candidate in loaded.candidates
        for name in candidate.models or ()
        if name not in names
    ]
    if wrong:
        raise SpecError(wrong)


def _told_apart(models: list[ModelChoice]) -> list[ModelChoice]:
    """Different models of one name are called by their sources, and by their fingerprints if need be."""
    named = models
    for better in (lambda model: model.source, lambda model: f"{model.source} ({model.fingerprint[-8:]})"):
        shared = {model.name for model in named for other in named if _confused(model, other)}
        named = [m.model_copy(update={"name": better(m)}) if m.name in shared else m for m in named]
    return named


def _confused(model: ModelChoice, other: ModelChoice) -> bool:
    return model.name == other.name and content_of(model) != content_of(other)


def _seeded(
    loaded: LoadedStudy,
    vocabulary: Vocabulary,
    model: ModelChoice,
    task: TaskChoice,
    precision: Precision,
    candidate: Candidate,
    augment: AugmentChoice | None,
) -> Iterator[RunSpec]:
    method = candidate.choice
    seeds: Sequence[int] = loaded.study.seeds if method.trains else loaded.study.seeds[:1]
    for seed in seeds:
        yield RunSpec(
            run_id="",
            study=loaded.study.name,
            model=model,
            method=method,
            task=task,
            precision=precision,
            training=_training(loaded, vocabulary, candidate),
            metrics=_metrics(loaded, vocabulary),
            seed=seed,
            augment=augment,
            budget=loaded.study.budget,
            checkpoint=loaded.study.checkpoint,
            parallel=loaded.study.parallel,
            allow_leakage=loaded.study.allow_leakage,
            allow_unsafe_code=loaded.study.allow_unsafe_code,
        )


def _metrics(loaded: LoadedStudy, vocabulary: Vocabulary) -> tuple[MetricChoice, ...]:
    return tuple(
        MetricChoice(name=name, version=vocabulary.metrics[name], of_labels=name in vocabulary.of_labels)
        for name in loaded.metrics
    )


def _training(loaded: LoadedStudy, vocabulary: Vocabulary, candidate: Candidate) -> Training | None:
    if not candidate.choice.trains:
        return None
    training = Training.model_validate(loaded.study.training.with_changes(candidate.overrides))
    if training.learning_rate is not None:
        return training
    default = vocabulary.methods[candidate.choice.name].default_learning_rate(candidate.choice.options)
    return training.model_copy(update={"learning_rate": default})
