"""P-tuning: embeddings of virtual tokens, made by a small network.

Liu et al. 2021, "GPT Understands, Too", section 3.2: an encoder (here PEFT's MLP of three layers) makes the virtual
tokens before the text; after training its output alone is kept. PEFT underneath.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from fairtune.methods.prompt import VirtualTokens, attach_virtual, restore_virtual
from fairtune.methods.protocol import Course, Method, Tuned, counted

if TYPE_CHECKING:
    from fairtune.models.load import LanguageModel


class PtuningOptions(VirtualTokens):
    """How many, and the width of the encoder."""

    encoder_hidden: Annotated[int, Field(ge=1)] = Field(default=128, description="width of the encoder's inner layers")


def _attach(model: LanguageModel, options: Mapping[str, Any], course: Course) -> Tuned:
    from peft import PromptEncoderConfig

    chosen = PtuningOptions.model_validate(options)
    config = PromptEncoderConfig(
        num_virtual_tokens=chosen.num_virtual_tokens, encoder_hidden_size=chosen.encoder_hidden, task_type="CAUSAL_LM"
    )
    return attach_virtual(model, config, course)


PTUNING = Method(
    name="ptuning",
    summary="embeddings of virtual tokens, made by a small network",
    paper="Liu et al. 2021, arXiv:2103.10385",
    formula=(
        "num_virtual_tokens * hidden + 2 * hidden * encoder_hidden + encoder_hidden ** 2 + 2 * encoder_hidden + hidden"
    ),
    options=PtuningOptions,
    attach=_attach,
    restore=restore_virtual,
    virtual_tokens=counted,
    learning_rate=1e-3,
    learning_rate_reason="the usual rate for a small network trained from nothing",
    starts_elsewhere="the virtual tokens stand before the text from the first step on",
)
