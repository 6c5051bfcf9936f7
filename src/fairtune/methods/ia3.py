"""(IA)³: keys, values and the inner activations of the MLP are scaled by learned vectors.

Liu et al. 2022, "Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper than In-Context Learning", section
3.3: ``l_k * K``, ``l_v * V`` and ``l_ff * gamma(W1 x)``, all ones at the start. PEFT underneath; which layers these
are is told by their names, by PEFT's table of architectures, or by you. (A layer that makes
queries, keys and values at once, as GPT-2's, is scaled whole.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from fairtune.errors import Problem, SpecError
from fairtune.methods.peft_tuned import attacher, restore
from fairtune.methods.protocol import Course, Method
from fairtune.methods.targets import linear_layers, resolve
from fairtune.study import Strict

if TYPE_CHECKING:
    from fairtune.models.load import LanguageModel


class Ia3Options(Strict):
    """Place."""

    targets: list[str] | None = Field(default=None, description="names of linear layers; the architecture's if absent")
    feedforward: list[str] | None = Field(default=None, description="those of them whose input is scaled instead")

    @model_validator(mode="after")
    def _both(self) -> Ia3Options:
        if (self.targets is None) != (self.feedforward is None):
            raise ValueError("give targets and feedforward together; feedforward may be a list of no names: [[]]")
        return self


def _config(model: LanguageModel, chosen: Ia3Options, course: Course) -> Any:
    from peft import IA3Config

    targets, feedforward = chosen.targets, chosen.feedforward
    if targets is None:
        targets, feedforward = _usual(model.network)
    return IA3Config(
        target_modules=resolve(model.network, targets),
        feedforward_modules=list(feedforward or ()),
        task_type="CAUSAL_LM",
    )


def _usual(network: Any) -> tuple[list[str], list[str]]:
    """Keys, values and the MLP's last layer where they are called as in Llama; elsewhere PEFT's table."""
    names = {name.rpartition(".")[2] for name in linear_layers(network)}
    if {"k_proj", "v_proj", "down_proj"} <= names:
        return ["k_proj", "v_proj", "down_proj"], ["down_proj"]
    from peft.utils import (
        TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING,
        TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING,
    )

    kind = network.config.get_text_config().model_type
    if kind not in TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING:
        raise SpecError(
            [Problem("methods.ia3", f"PEFT knows no usual layers of '{kind}'; give targets and feedforward")]
        )
    return (
        list(TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING[kind]),
        list(TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING[kind]),
    )


IA3 = Method(
    name="ia3",
    summary="scales of keys, values and inner MLP activations",
    paper="Liu et al. 2022, arXiv:2205.05638",
    formula="sum(d_out for d_in, d_out in targets) + sum(d_in for d_in, d_out in feedforward)",
    options=Ia3Options,
    attach=attacher(_config, Ia3Options),
    restore=restore,
    learning_rate=3e-3,
    learning_rate_reason="the paper's: few numbers, which begin at one and must move by tenths",
)
