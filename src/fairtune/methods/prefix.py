"""Prefix tuning: keys and values of virtual tokens before the text, in every layer.

Li & Liang 2021, "Prefix-Tuning: Optimizing Continuous Prompts for Generation", equation 3. The prefix is trained
itself, without the paper's reparametrisation by an MLP, which is dropped after training anyway. PEFT underneath.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from fairtune.methods.prompt import VirtualTokens, attach_virtual, restore_virtual
from fairtune.methods.protocol import Course, Method, Tuned, counted
from fairtune.models.shape import head_size

if TYPE_CHECKING:
    from fairtune.models.load import LanguageModel


class PrefixOptions(VirtualTokens):
    """How many, and how large they begin."""

    initial_scale: Annotated[float, Field(ge=0)] = Field(
        default=0.02, description="standard deviation of the first keys and values"
    )


def _attach(model: LanguageModel, options: Mapping[str, Any], course: Course) -> Tuned:
    import torch
    from peft import PrefixTuningConfig

    chosen = PrefixOptions.model_validate(options)
    heads, width = key_value_shape(model.network.config.get_text_config())
    # PEFT counts with query heads of hidden / heads, which some architectures (Gemma 3) do not have.
    config = PrefixTuningConfig(
        num_virtual_tokens=chosen.num_virtual_tokens,
        num_attention_heads=heads,
        token_dim=heads * width,
        task_type="CAUSAL_LM",
    )
    tuned = attach_virtual(model, config, course)
    with torch.no_grad():
        model.network.prompt_encoder["default"].embedding.weight.normal_(std=chosen.initial_scale)
    return tuned


def key_value_shape(config: Any) -> tuple[int, int]:
    """Key-value heads, and the width of each."""
    heads = config.num_attention_heads
    return getattr(config, "num_key_value_heads", None) or heads, head_size(config)


PREFIX = Method(
    name="prefix",
    summary="keys and values of virtual tokens, in every layer",
    paper="Li & Liang 2021, arXiv:2101.00190",
    formula="num_virtual_tokens * layers * 2 * kv_width",
    options=PrefixOptions,
    attach=_attach,
    restore=restore_virtual,
    virtual_tokens=counted,
    learning_rate=1e-2,
    learning_rate_reason="keys and values must grow from near nothing to the size of real ones",
    starts_elsewhere="attention also goes to the prefix, whatever it holds",
    no_checkpointing="the prefix lives in a key-value cache, which recomputation would fill twice",
)
