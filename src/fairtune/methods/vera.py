"""VeRA: one pair of random frozen matrices for all layers; each layer learns two vectors of scales.

Kopiczko et al. 2023, "VeRA: Vector-based Random Matrix Adaptation", equation 2:
``h = W0 x + diag(b) B diag(d) A x``, ``b`` zero at the start. PEFT underneath.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from fairtune.methods.peft_tuned import attacher, restore
from fairtune.methods.protocol import Course, Method
from fairtune.methods.targets import Targets, resolve, targets_field
from fairtune.study import Strict

if TYPE_CHECKING:
    from fairtune.models.load import LanguageModel


class VeraOptions(Strict):
    """Size and place."""

    rank: Annotated[int, Field(ge=1)] = Field(default=256, description="of the frozen random matrices")
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    d_initial: float = Field(default=0.1, description="first value of d")
    targets: Targets = targets_field("all-linear")


def _config(model: LanguageModel, chosen: VeraOptions, course: Course) -> Any:
    from peft import VeraConfig

    return VeraConfig(
        r=chosen.rank,
        vera_dropout=chosen.dropout,
        d_initial=chosen.d_initial,
        projection_prng_key=course.seed,
        target_modules=resolve(model.network, chosen.targets),
        task_type="CAUSAL_LM",
    )


VERA = Method(
    name="vera",
    summary="two vectors of scales beside each linear layer, around shared random matrices",
    paper="Kopiczko et al. 2023, arXiv:2310.11454",
    formula="sum(rank + d_out for d_in, d_out in targets)",
    options=VeraOptions,
    attach=attacher(_config, VeraOptions),
    restore=restore,
    learning_rate=4e-3,
    learning_rate_reason="the paper's for instruction tuning: above LoRA's, since so few numbers must do the moving",
)
