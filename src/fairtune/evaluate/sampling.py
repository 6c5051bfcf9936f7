"""Text that a model writes by itself, drawn at random: to be read, never scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import GenerationConfig

from fairtune.models.load import LanguageModel


@dataclass(frozen=True)
class Sample:
    """What the model was given, and what it wrote after that."""

    start: str
    text: str


def sample(
    model: LanguageModel, start: Sequence[int], count: int, tokens: int, temperature: float, seed: int
) -> list[Sample]:
    """``count`` texts of ``tokens`` tokens that begin with ``start``, from the model's whole distribution.

    Args:
        start: tokens all samples continue; at least one.
        temperature: divides the logits; below 1 the likely becomes likelier.
        seed: the same seed draws the same texts on the same device.
    """
    model.network.eval()
    torch.manual_seed(seed)
    texts = torch.tensor([list(start)] * count, device=model.device)
    while texts.shape[1] < len(start) + tokens:
        texts = _longer(model, texts, len(start) + tokens - texts.shape[1], temperature)
    return [Sample(_text(model, start), _text(model, row[len(start) :])) for row in texts.tolist()]


@torch.no_grad()
def _longer(model: LanguageModel, texts: torch.Tensor, wanted: int, temperature: float) -> torch.Tensor:
    """``(rows, length)`` tokens, with up to ``wanted`` more: as many as the context has room for.

    A text that fills half of the context is read from its last half context on, so that the model always knows that
    much of what it wrote. Sliding by one token would read everything again for each.
    """
    context = model.context or texts.shape[1] + wanted
    read = texts[:, -max(1, context // 2) :]
    room = max(1, context - read.shape[1])
    config = GenerationConfig(
        do_sample=True,
        temperature=temperature,
        top_k=0,
        max_new_tokens=min(wanted, room),
        eos_token_id=None,  # a sample goes on: documents end, samples have a length
        pad_token_id=model.stops[0],
    )
    with model.computing():
        written = model.network.generate(input_ids=read, attention_mask=torch.ones_like(read), generation_config=config)
    return torch.cat([texts, written[:, read.shape[1] :]], dim=1)


def _text(model: LanguageModel, tokens: Sequence[int]) -> str:
    return str(model.tokenizer.decode(tokens, skip_special_tokens=True))
