"""Prompt tuning: embeddings of virtual tokens before the text.

Lester et al. 2021, "The Power of Scale for Parameter-Efficient Prompt Tuning", section 2: the embeddings begin as those
of words of the vocabulary (section 3.2), and nothing else is trained. PEFT underneath.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from fairtune.methods.peft_tuned import restore, wrap
from fairtune.methods.protocol import Course, Method, Tuned, counted
from fairtune.study import Strict

if TYPE_CHECKING:
    from fairtune.models.load import LanguageModel


class VirtualTokens(Strict):
    """How many."""

    num_virtual_tokens: Annotated[int, Field(ge=1)] = 8


class PromptOptions(VirtualTokens):
    """How many, and what they begin as."""

    text: str | None = Field(default=None, description="words to begin with; random ones of the vocabulary if absent")


def attach_virtual(model: LanguageModel, config: Any, course: Course) -> Tuned:
    """A network with virtual tokens, which take room in its context."""
    tuned = wrap(model, config, course)
    model.put_before(config.num_virtual_tokens)
    return tuned


def restore_virtual(model: LanguageModel, options: Mapping[str, Any], folder: Any) -> Tuned:
    """The base with saved virtual tokens."""
    tuned = restore(model, options, folder)
    model.put_before(model.network.active_peft_config.num_virtual_tokens)
    return tuned


def _attach(model: LanguageModel, options: Mapping[str, Any], course: Course) -> Tuned:
    import torch
    from peft import PromptTuningConfig

    chosen = PromptOptions.model_validate(options)
    config = PromptTuningConfig(
        num_virtual_tokens=chosen.num_virtual_tokens, prompt_tuning_init="RANDOM", task_type="CAUSAL_LM"
    )
    embeddings = model.network.get_input_embeddings()
    generator = torch.Generator().manual_seed(course.seed)
    rows = _first_tokens(model, chosen, generator).to(model.device)
    with torch.no_grad():
        start = embeddings(rows).float()
    tuned = attach_virtual(model, config, course)
    with torch.no_grad():
        model.network.prompt_encoder["default"].embedding.weight.copy_(start)
    return tuned


def _first_tokens(model: LanguageModel, chosen: PromptOptions, generator: Any) -> Any:
    """Token ids to begin with, ``(num_virtual_tokens,)``: those of the text, repeated or cut; or random ones."""
    import torch

    count = chosen.num_virtual_tokens
    ids = model.tokenizer(chosen.text, add_special_tokens=False)["input_ids"] if chosen.text else []
    if not ids:
        return torch.randint(0, model.network.get_input_embeddings().num_embeddings, (count,), generator=generator)
    return torch.tensor((ids * -(-count // len(ids)))[:count])


PROMPT = Method(
    name="prompt",
    summary="embeddings of virtual tokens before the text",
    paper="Lester et al. 2021, arXiv:2104.08691",
    formula="num_virtual_tokens * hidden",
    options=PromptOptions,
    attach=_attach,
    restore=restore_virtual,
    virtual_tokens=counted,
    learning_rate=3e-2,
    learning_rate_reason="the paper's 0.3 was for Adafactor; under AdamW a tenth of it moves embeddings as far",
    starts_elsewhere="the virtual tokens stand before the text from the first step on",
)
