"""The untouched model: what every other run is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fairtune.methods.protocol import Course, Method, Tuned
from fairtune.study import Strict

if TYPE_CHECKING:
    from fairtune.models.load import LanguageModel


class BaseOptions(Strict):
    """None."""


def _attach(model: LanguageModel, options: Mapping[str, Any], course: Course) -> Tuned:
    model.network.requires_grad_(False)
    return Tuned(model)


BASE = Method(
    name="base",
    summary="nothing: the model as it comes",
    paper=None,
    formula="0",
    options=BaseOptions,
    attach=_attach,
    learning_rate=None,
    learning_rate_reason=None,
    trains=False,
    artifact=None,
)
