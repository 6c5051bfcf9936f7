"""Partial fine-tuning: the last layers, or named modules, are trained; everything before them stays.

Yosinski et al. 2014, "How transferable are features in deep neural networks?": early layers are general, late ones
belong to the task. What is trained: all parameters of the last ``last_layers`` transformer layers, or of ``modules``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, model_validator

from fairtune.errors import Problem, SpecError, suggest
from fairtune.methods.protocol import Course, Method, Tuned
from fairtune.methods.targets import blocks
from fairtune.study import Strict

if TYPE_CHECKING:
    from torch import nn

    from fairtune.models.load import LanguageModel


class FreezeOptions(Strict):
    """Which part is trained."""

    last_layers: Annotated[int, Field(ge=1)] | None = Field(default=None, description="transformer layers; 2 if absent")
    modules: list[str] | None = Field(
        default=None, description="names of modules or parameters instead, for example lm_head or layers.3.mlp"
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> FreezeOptions:
        if self.last_layers is not None and self.modules is not None:
            raise ValueError("give last_layers or modules, not both")
        if self.last_layers is None and self.modules is None:
            return self.model_copy(update={"last_layers": 2})
        return self


def _attach(model: LanguageModel, options: Mapping[str, Any], course: Course) -> Tuned:
    chosen = FreezeOptions.model_validate(options)
    model.network.requires_grad_(False)
    for parameter in _chosen(model.network, chosen):
        parameter.requires_grad_(True)
    return Tuned(model)


def _chosen(network: nn.Module, options: FreezeOptions) -> list[nn.Parameter]:
    if options.last_layers is None:
        return [parameter for name in options.modules or () for parameter in _named(network, name)]
    _, layers = blocks(network)
    if options.last_layers > len(layers):
        raise SpecError(
            [Problem("methods.freeze.last_layers", f"{options.last_layers}: the model has {len(layers)} layers")]
        )
    return [parameter for layer in layers[-options.last_layers :] for parameter in layer.parameters()]


def _named(network: nn.Module, name: str) -> list[nn.Parameter]:
    """Parameters in whose full name ``name`` stands as whole words between dots."""
    # Of two names of one tensor (tied embeddings) both count.
    everything = dict(network.named_parameters(remove_duplicate=False))
    found = [parameter for full, parameter in everything.items() if f".{name}." in f".{full}."]
    if not found:
        words = {word for full in everything for word in full.split(".") if not word.isdigit()}
        raise SpecError([Problem("methods.freeze.modules", f"nothing is called '{name}'; {suggest(name, words)}")])
    return found


FREEZE = Method(
    name="freeze",
    summary="the last transformer layers, or named modules",
    paper="Yosinski et al. 2014, arXiv:1411.1792",
    formula="chosen",
    options=FreezeOptions,
    attach=_attach,
    learning_rate=5e-5,
    learning_rate_reason="a little above the rate of full fine-tuning, since fewer weights do the moving",
    artifact="model",
)
