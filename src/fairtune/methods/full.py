"""Full fine-tuning: every weight moves.

In bf16 the optimizer keeps fp32 master copies (train/optimizer.py); the network computes with their rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fairtune.methods.protocol import Course, Method, Tuned
from fairtune.study import Strict

if TYPE_CHECKING:
    from fairtune.models.load import LanguageModel


class FullOptions(Strict):
    """None of its own; the training recipe can be overridden."""


def _attach(model: LanguageModel, options: Mapping[str, Any], course: Course) -> Tuned:
    model.network.requires_grad_(True)
    return Tuned(model)


FULL = Method(
    name="full",
    summary="every weight",
    paper=None,
    formula="weights",
    options=FullOptions,
    attach=_attach,
    learning_rate=2e-5,
    learning_rate_reason=(
        "the usual rate for instruction tuning of whole models: every weight moves, so each must move little"
    ),
    artifact="model",
)
