"""Greedy answers, in batches of similar prompt length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from transformers import GenerationConfig

from fairtune.data import Encoded, MicroBatch, micro_batches
from fairtune.models.load import LanguageModel
from fairtune.study import Generation

# Prompt tokens, padding included, that go through the model together. Fixed, not an option: what the score is
# must not depend on what else is being done.
_PROMPT_BUDGET = 4096
_ROWS = 64
_GREEDY = Generation()


@dataclass(frozen=True)
class Answer:
    """A generated answer: text without special tokens, its length in tokens, whether it stopped by itself.

    ``raw``: the text with the white space at its ends.
    """

    text: str
    tokens: int
    stopped: bool
    raw: str = ""


def generate(
    model: LanguageModel,
    items: Sequence[Encoded],
    max_new_tokens: int,
    done: Callable[[int], None] = lambda _: None,
    rows: int = _ROWS,
) -> list[Answer]:
    """The model's greedy answer to every item's prompt, in order.

    Args:
        done: told how many answers there are so far.
        rows: most prompts to run together; changes the speed, not the answers.
    """
    return write(model, [item.prompt for item in items], max_new_tokens, done=done, rows=rows)


def write(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    how: Generation = _GREEDY,
    seeds: Sequence[int] | None = None,
    done: Callable[[int], None] = lambda _: None,
    rows: int = _ROWS,
) -> list[Answer]:
    """What the model writes after every prompt, in order.

    Args:
        how: greedy unless it says otherwise; an answer ends before the first of its ``stop`` texts.
        seeds: one a prompt, for the draws of that prompt alone; needed where ``how`` draws.
        done: told how many answers there are so far.
    """
    model.network.eval()
    config = GenerationConfig(
        do_sample=False,
        max_new_tokens=max_new_tokens,
        eos_token_id=model.stops,
        pad_token_id=model.stops[0],
    )
    answers: dict[int, Answer] = {}
    for batch in _batches(model, [len(prompt) for prompt in prompts], rows):
        for row, new in zip(batch.rows, _continue(model, prompts, batch, config), strict=True):
            answers[row] = _answer(model, new)
        done(len(answers))
    return [answers[row] for row in range(len(prompts))]


def _batches(model: LanguageModel, lengths: list[int], rows: int) -> list[MicroBatch]:
    """Batches of similar prompts; of equally long ones where virtual tokens stand before the text.

    Padding would come between the two, and move one away from the other.
    """
    if not model.virtual_tokens:
        return micro_batches(lengths, _PROMPT_BUDGET, rows)
    batches = []
    for length in sorted(set(lengths)):
        alike = [row for row, own in enumerate(lengths) if own == length]
        for batch in micro_batches([length] * len(alike), _PROMPT_BUDGET, rows):
            batches.append(MicroBatch(tuple(alike[row] for row in batch.rows), batch.computed))
    return batches


@torch.no_grad()
def _continue(
    model: LanguageModel, prompts: Sequence[Sequence[int]], batch: MicroBatch, config: GenerationConfig
) -> list[list[int]]:
    """New tokens of each row. Prompts are padded on the left, masked, so that answers begin together."""
    length = max(len(prompts[row]) for row in batch.rows)
    tokens = torch.full((len(batch.rows), length), model.stops[0])
    mask = torch.zeros_like(tokens)
    for position, row in enumerate(batch.rows):
        prompt = prompts[row]
        tokens[position, length - len(prompt) :] = torch.tensor(prompt)
        mask[position, length - len(prompt) :] = 1
    with model.computing():
        output = model.network.generate(
            input_ids=tokens.to(model.device), attention_mask=mask.to(model.device), generation_config=config
        )
    return [new.tolist() for new in output[:, length:].cpu()]


def _answer(model: LanguageModel, new: list[int]) -> Answer:
    end = next((index for index, token in enumerate(new) if token in model.stops), None)
    kept = new if end is None else new[:end]
    raw = model.tokenizer.decode(kept, skip_special_tokens=True)
    return Answer(raw.strip(), len(kept), end is not None, raw)
