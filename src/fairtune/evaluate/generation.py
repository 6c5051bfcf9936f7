"""Answers: many at a time, and a new one begun whenever one ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)

from fairtune.data import Encoded, MicroBatch, micro_batches
from fairtune.evaluate.drafts import Answer, Chooser, Draft
from fairtune.evaluate.flow import write_in_flow
from fairtune.models.load import LanguageModel
from fairtune.models.memory import TokenBudget
from fairtune.study import Generation

__all__ = ["Answer", "generate", "write"]

_ROWS = 32
_GREEDY = Generation()

Done = Callable[[int], None]


def generate(
    model: LanguageModel,
    items: Sequence[Encoded],
    max_new_tokens: int,
    done: Done = lambda _: None,
    rows: int = _ROWS,
) -> list[Answer]:
    """The model's greedy answer to every item's prompt, in order.

    Args:
        done: told how many answers there are so far.
        rows: most prompts to run together; changes the speed, not the answers.
    """
    return write(model, [item.prompt for item in items], max_new_tokens, done=done, rows=rows)


@torch.no_grad()
def write(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    how: Generation = _GREEDY,
    seeds: Sequence[int] | None = None,
    done: Done = lambda _: None,
    rows: int = _ROWS,
) -> list[Answer]:
    """What the model writes after every prompt, in order.

    Args:
        how: greedy unless it says otherwise; an answer ends before the first of its ``stop`` texts.
        seeds: one a prompt, for the draws of that prompt alone; needed where ``how`` draws.
        done: told how many answers there are so far.
        rows: most prompts to run together; changes the speed, not the answers.
    """
    model.network.eval()
    own = [None] * len(prompts) if seeds is None else seeds
    drafts = [Draft(prompt, max_new_tokens, how, seed) for prompt, seed in zip(prompts, own, strict=True)]
    chooser = Chooser(how)
    if model.batching.branches:
        write_in_flow(model, drafts, chooser, rows, done)
    else:
        _write_padded(model, drafts, chooser, rows, max_new_tokens, done)
    return [draft.answer(model.tokenizer) for draft in drafts]


def _write_padded(
    model: LanguageModel, drafts: Sequence[Draft], chooser: Chooser, rows: int, max_new_tokens: int, done: Done
) -> None:
    """By transformers' own loop, a batch after the other, for models whose texts cannot lie in one row."""
    config = GenerationConfig(
        do_sample=False,
        max_new_tokens=max_new_tokens,
        pad_token_id=model.stops[0],
    )
    budget, left = TokenBudget(model), list(drafts)
    while left:
        for batch in _batches(model, [len(draft.prompt) for draft in left], budget.tokens, rows):
            chosen = [left[row] for row in batch.rows]
            if not budget.fits(partial(_continue, model, chosen, chooser, config)):
                rows = max(1, len(chosen) // 2)
                for draft in chosen:
                    draft.restart()
                break
            done(sum(draft.finished for draft in drafts))
        left = [draft for draft in left if not draft.finished]


def _batches(model: LanguageModel, lengths: list[int], tokens: int, rows: int) -> list[MicroBatch]:
    """Batches of similar prompts; of equally long ones where virtual tokens stand before the text.

    Padding would come between the two, and move one away from the other.
    """
    if not model.virtual_tokens:
        return micro_batches(lengths, tokens, rows)
    batches = []
    for length in sorted(set(lengths)):
        alike = [row for row, own in enumerate(lengths) if own == length]
        batches += [
            replace(batch, rows=tuple(alike[row] for row in batch.rows))
            for batch in micro_batches([length] * len(alike), tokens, rows)
        ]
    return batches


def _continue(model: LanguageModel, drafts: Sequence[Draft], chooser: Chooser, config: GenerationConfig) -> None:
    """Writes drafts to their end. Prompts are padded on the left, masked, so that answers begin together."""
    length = max(len(draft.prompt) for draft in drafts)
    tokens = torch.full((len(drafts), length), model.stops[0])
    mask = torch.zeros_like(tokens)
    for row, draft in enumerate(drafts):
        tokens[row, length - len(draft.prompt) :] = torch.tensor(draft.prompt)
        mask[row, length - len(draft.prompt) :] = 1
    with model.computing():
        model.network.generate(
            input_ids=tokens.to(model.device),
            attention_mask=mask.to(model.device),
            generation_config=config,
            logits_processor=LogitsProcessorList([_Chosen(model, drafts, chooser)]),
            stopping_criteria=StoppingCriteriaList([_Finished(drafts)]),
        )


class _Finished(StoppingCriteria):  # type: ignore[misc]
    """Drafts know their own end, which is not always an end token."""

    def __init__(self, drafts: Sequence[Draft]) -> None:
        self._drafts = drafts

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **options: Any) -> torch.Tensor:
        return torch.tensor([draft.finished for draft in self._drafts], device=input_ids.device)


class _Chosen(LogitsProcessor):  # type: ignore[misc]
    """Leaves transformers' loop one token to choose; a finished draft has its end token."""

    def __init__(self, model: LanguageModel, drafts: Sequence[Draft], chooser: Chooser) -> None:
        self._model, self._drafts, self._chooser = model, drafts, chooser

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> Any:
        chosen = self._chooser.choose(scores.float(), self._drafts).tolist()
        only = torch.full_like(scores, -torch.inf)
        for row, (draft, token) in enumerate(zip(self._drafts, chosen, strict=True)):
            draft.add(token, self._model.stops, self._model.tokenizer)
            only[row, self._model.stops[0] if draft.finished else token] = 0
        return only
