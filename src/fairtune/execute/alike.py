"""Which runs are alike to a plan. No torch here."""

from __future__ import annotations

import json

from fairtune.study import RunSpec

NO_MATTER = frozenset(
    {"learning_rate", "schedule", "warmup", "weight_decay", "max_grad_norm", "keep", "early_stopping"}
)
"""What a recipe says that changes neither memory nor the work of an update."""

_IGNORED = {"run_id", "study", "seed", "checkpoint", "allow_leakage", "allow_unsafe_code", "trial", "tuned"}


def alike_key(spec: RunSpec) -> str:
    """Equal for runs that differ in nothing that a plan depends on: seeds and rates, say."""
    told = spec.model_dump(mode="json", exclude=_IGNORED)
    told["trains_only"] = spec.trial is not None
    told["method"] = {"name": spec.method.name, "options": told["method"]["options"]}
    told["budget"] = {"batch_tokens": spec.budget.batch_tokens}
    training = told["training"]
    if training is not None:
        told["training"] = {key: value for key, value in training.items() if key not in NO_MATTER}
    return json.dumps(told, sort_keys=True)
