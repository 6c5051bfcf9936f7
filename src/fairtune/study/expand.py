"""From a study to its runs: ordered, without repeats, each named by its content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from fairtune.errors import Problem, SpecError, suggest
from fairtune.study.benchmark import BenchmarkChoice
from fairtune.study.grid import Candidate
from fairtune.study.load import LoadedStudy
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
from fairtune.study.vocabulary import TEACHER, Vocabulary

# What a task says of how its items are read and answered; its data have a fingerprint of their own.
_READING = {"prompt", "max_new_tokens", "generation", "code", "window", "stride", "samples", "predict"}

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
    """The RunSpecs of a study, in the order models × precisions × methods × augmentations × seeds.

    A method that does not train has one run, whatever the seeds and augmentations: of the first seed, which is where
    the weights of an untrained model from scratch come from. Two cells that ask for the same thing are one.

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
    drafts = [
        draft
        for model in models
        for precision in loaded.precisions
        for candidate in loaded.candidates
        if candidate.models is None or model.name in candidate.models
        for augment in (augments if candidate.choice.trains else (None,))
        for draft in _seeded(loaded, vocabulary, model, task, precision, candidate, augment)
    ]
    runs: dict[str, RunSpec] = {}
    # Who teaches comes before who learns.
    for draft in sorted(drafts, key=lambda draft: vocabulary.methods[draft.method.name].has_teacher):
        teacher = None
        if vocabulary.methods[draft.method.name].has_teacher:
            teacher = find_teacher(draft, list(runs.values()), lambda ref: identify_model(ref, loaded.root))
        run = draft.model_copy(update={"teacher": teacher, "benchmarks": tuple(benchmarks)})
        run = run.model_copy(update={"run_id": run_id(run)})
        runs.setdefault(run.run_id, run)
    return list(runs.values())


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
    return model.name == other.name and _model(model) != _model(other)


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


def run_id(spec: RunSpec) -> str:
    """Ten hex digits of the SHA-256 of what the run asks for.

    Content decides: fingerprints of weights and rows are hashed; file paths, names of study and model, labels, the
    budget, checkpoints and the number of processes are not. A seed that nothing depends on is not hashed either, nor a
    key that is at its default: runs made before the key existed are found again. (Another default is another meaning,
    and needs another version of the RunSpec.)
    """
    text = json.dumps(_identity(spec), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def _identity(spec: RunSpec) -> dict[str, Any]:
    task = spec.task.task
    teacher = spec.teacher and (spec.teacher.run_id or spec.teacher.model)
    return {
        "version": spec.version,
        "model": _model(spec.model),
        "method": [spec.method.name, {key: value for key, value in spec.method.chosen.items() if key != TEACHER}],
        "teacher": _model(teacher) if isinstance(teacher, ModelChoice) else teacher,
        "data": spec.task.fingerprint,
        "task": task.model_dump(include=_READING, exclude_defaults=True),
        "precision": spec.precision,
        "training": spec.training.model_dump(exclude_defaults=True) if spec.training else None,
        "metrics": [[metric.name, metric.version] for metric in spec.metrics],
        "seed": spec.seed if spec.method.trains or spec.model.scratch or task.generation.temperature else None,
        **_augment(spec.augment),
        # The rows do not tell labels that none of them has, and a mean over labels counts those too.
        **({"labels": spec.task.labels} if _asks_labels(spec) else {}),
        **({"benchmarks": [benchmark.identity for benchmark in spec.benchmarks]} if spec.benchmarks else {}),
    }


def _asks_labels(spec: RunSpec) -> bool:
    return spec.task.task.predict != "generate" or any(metric.of_labels for metric in spec.metrics)


def _augment(choice: AugmentChoice | None) -> dict[str, Any]:
    return {} if choice is None else {"augment": [choice.name, choice.chosen, choice.fingerprint]}


def _model(model: ModelChoice) -> list[Any]:
    return [model.fingerprint, model.trust_remote_code, model.first_layers]
