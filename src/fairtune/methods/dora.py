"""DoRA: LoRA moves a weight's direction, a vector of its own the magnitude.

Liu et al. 2024, "DoRA: Weight-Decomposed Low-Rank Adaptation", equation 5:
``W' = m (W0 + (alpha / rank) B A) / ||W0 + (alpha / rank) B A||``, the norm taken over each output's row of weights,
and ``m`` beginning as the norm of ``W0``. PEFT underneath.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fairtune.methods.lora import LowRankOptions, attach_low_rank
from fairtune.methods.peft_tuned import restore
from fairtune.methods.protocol import Course, Method, Tuned

if TYPE_CHECKING:
    from fairtune.models.load import LanguageModel

DORA_FORMULA = "sum(rank * (d_in + d_out) + d_out for d_in, d_out in targets) + target_biases"


class DoraOptions(LowRankOptions):
    """As LoRA's."""


def _attach(model: LanguageModel, options: Mapping[str, Any], course: Course) -> Tuned:
    return attach_low_rank(model, DoraOptions.model_validate(options), course, use_dora=True)


DORA = Method(
    name="dora",
    summary="LoRA for the direction of weights, and a magnitude for each output",
    paper="Liu et al. 2024, arXiv:2402.09353",
    formula=DORA_FORMULA,
    options=DoraOptions,
    attach=_attach,
    restore=restore,
    learning_rate=2e-4,
    learning_rate_reason="LoRA's, as in the paper: its low-rank part is the same",
)
