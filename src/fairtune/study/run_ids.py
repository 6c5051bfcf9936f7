"""A run's name: a hash of what it asks."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from fairtune.study.spec import AugmentChoice, ModelChoice, RunSpec
from fairtune.study.vocabulary import TEACHER

# What a task says of how its items are read and answered; its data have a fingerprint of their own.
_READING = {"prompt", "max_new_tokens", "generation", "code", "window", "stride", "samples", "predict"}


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
        "model": content_of(spec.model),
        "method": [spec.method.name, {key: value for key, value in spec.method.chosen.items() if key != TEACHER}],
        "teacher": content_of(teacher) if isinstance(teacher, ModelChoice) else teacher,
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
        **_tune(spec),
    }


def _asks_labels(spec: RunSpec) -> bool:
    return spec.task.task.predict != "generate" or any(metric.of_labels for metric in spec.metrics)


def _tune(spec: RunSpec) -> dict[str, Any]:
    """A trial is told from those that search other keys, since it is pruned among its own.

    What was chosen is a run like any other; while nothing is, it is none that a study could ask for.
    """
    if spec.trial is not None:
        return {"trial": sorted(spec.trial.values)}
    return {"open": spec.tuned.model_dump(mode="json")["space"]} if spec.tuned and spec.tuned.chosen is None else {}


def _augment(choice: AugmentChoice | None) -> dict[str, Any]:
    return {} if choice is None else {"augment": [choice.name, choice.chosen, choice.fingerprint]}


def content_of(model: ModelChoice) -> list[Any]:
    """What of a model counts: what its weights are, and what is made of them."""
    return [model.fingerprint, model.trust_remote_code, model.first_layers]
