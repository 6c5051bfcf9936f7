"""Tokenises a task's data into the cache ahead of runs, and counts while it does."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fairtune.data import Example, Message, Splits, encode_all
from fairtune.data.starter import SMALL_MODEL
from fairtune.data.tokens.table import TokenTable
from fairtune.errors import DataError
from fairtune.execute.data import Opened
from fairtune.execute.items import training_texts
from fairtune.execute.tokens import Stored, TokenStore
from fairtune.models import fetch, identify
from fairtune.models.sources import Say
from fairtune.study import ModelChoice, ModelRef, Training

_PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Counts:
    """A part of a task for one model. Tokens are uncut; a document's are cut into windows later, which loses none.

    ``raw_tokens``: of the rows' own text. ``template_tokens``: what stands around it, counted around one-letter texts
    with the same turns; both None where the template refuses those. ``cut_examples``, ``cut_tokens``: longer than
    ``max_length``, and what they lose; of the training part and validation only. ``seconds``: from examples to the
    table; None where it was in the cache.
    """

    model: str
    part: str
    examples: int
    characters: int
    tokens: int
    raw_tokens: int | None
    template_tokens: int | None
    supervised_tokens: int
    longest: int
    max_length: int | None
    cut_examples: int | None
    cut_tokens: int | None
    seconds: float | None
    tokens_per_second: float | None
    file: str
    file_bytes: int


def prepare(opened: Opened, models: Sequence[str], max_length: int | None, say: Say) -> list[Counts]:
    """Every part of a task as every model's tokens, in the cache where a run finds them.

    Args:
        models: as in a study; those of the study where there are none, and else a small one.
        max_length: tokens of the longest training example; the study's where None.

    Raises:
        ModelError: a model cannot be had.
        DataError: its chat template cannot be applied.
        BudgetError: the cache cannot be written.
    """
    if max_length is None:
        max_length = (opened.study.study.training if opened.study else Training()).max_length
    found = []
    for model in _models(opened, models):
        found += _counted(model, opened.splits, max_length, say)
    return found


def _models(opened: Opened, asked: Sequence[str]) -> Iterator[ModelChoice]:
    """Each of the models once, and of those that share their weights the first."""
    if asked or opened.study is None:
        chosen, root = [ModelRef(source=text) for text in asked or (SMALL_MODEL,)], Path()
    else:
        chosen, root = opened.study.study.models, opened.study.root
    seen = set()
    for ref in chosen:
        model = identify(ref, root)
        if model.fingerprint not in seen:
            seen.add(model.fingerprint)
            yield model


def _counted(model: ModelChoice, splits: Splits, max_length: int, say: Say) -> list[Counts]:
    from fairtune.models.opening import open_tokenizer  # with it comes torch

    tokenizer = open_tokenizer(model, fetch(model, say), training_texts(splits))
    store = TokenStore(tokenizer)
    counts = []
    for part in _PARTS:
        say(f"{model.name}: {part}")
        counts.append(_part(model, part, getattr(splits, part), store, tokenizer, max_length))
    return counts


def _part(
    model: ModelChoice, part: str, examples: Iterable[Example], store: TokenStore, tokenizer: Any, max_length: int
) -> Counts:
    started = time.perf_counter()
    stored = store.get(examples)
    seconds = time.perf_counter() - started if stored.made else None
    table, tokens = stored.table, int(stored.table.lengths.sum())
    template = _template_tokens(stored, tokenizer)
    lost = _lost(table, max_length) if part != "test" else None
    return Counts(
        model=model.name,
        part=part,
        examples=stored.content.examples,
        characters=stored.content.characters,
        tokens=tokens,
        raw_tokens=None if template is None else tokens - template,
        template_tokens=template,
        supervised_tokens=table.supervised(),
        longest=int(table.lengths.max(initial=0)),
        max_length=None if lost is None else max_length,
        cut_examples=None if lost is None else int(np.count_nonzero(lost)),
        cut_tokens=None if lost is None else int(lost.sum()),
        seconds=seconds,
        tokens_per_second=tokens / seconds if seconds else None,
        file=str(stored.path),
        file_bytes=stored.path.stat().st_size,
    )


def _lost(table: TokenTable, max_length: int) -> Any:
    """Tokens that each example loses; documents are cut into windows instead, and lose none."""
    return np.where(table.prompt_lengths > 0, np.maximum(table.lengths - max_length, 0), 0)


def _template_tokens(stored: Stored, tokenizer: Any) -> int | None:
    """Tokens around the examples' own text: those around the same turns of one letter each."""
    letter = len(tokenizer("a", add_special_tokens=False)["input_ids"])
    around = 0
    for roles, examples in stored.content.turns.items():
        probe = Example("probe", tuple(Message(role, "a") for role in roles))
        try:
            around += examples * (len(encode_all([probe], tokenizer)[0].tokens) - letter * len(roles))
        except DataError:  # the examples themselves were taken
            return None
    return around


def counted_rows(counts: Sequence[Counts]) -> list[dict[str, Any]]:
    """The counts as a table's rows, without what only a program reads."""
    return [{name: value for name, value in asdict(each).items() if name != "file"} for each in counts]
