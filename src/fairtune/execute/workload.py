"""A run's texts as a planner needs them: as tokens of its model where the tokenizer is here, else as estimates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fairtune.data import Encoded, Items, Splits, cut_to
from fairtune.data.estimate import estimated
from fairtune.execute.items import Parts, cut_windows, encode_parts, scored_items
from fairtune.execute.outcomes import needs, reads
from fairtune.models.lessons import blank_lessons
from fairtune.plan.predict import Amount
from fairtune.plan.simulate import Workload
from fairtune.study import RunSpec, Training


@dataclass(frozen=True)
class Texts:
    """A task as one model reads it.

    Attributes:
        tokenizer: None where it is not here; ``assumed`` then says how tokens were counted.
        vocabulary: tokens there are.
    """

    parts: Parts
    tokenizer: Any
    vocabulary: int
    context: int | None
    assumed: tuple[str, ...] = ()


class _Silent:
    """Where windows of plain text are cut, somebody must be able to say what they hold; a planner never looks."""

    def decode(self, tokens: Any, **options: Any) -> str:
        return ""


def read_texts(splits: Splits, tokenizer: Any, vocabulary: int, context: int | None) -> Texts:
    """All parts of a task.

    Args:
        tokenizer: None where it is not here.
    """
    if tokenizer is not None:
        return Texts(encode_parts(splits, tokenizer), tokenizer, vocabulary, context)
    counted = Parts(*(estimated(part, vocabulary) for part in (splits.train, splits.validation, splits.test)))
    told = "tokens are counted from the bytes of the texts, since no tokenizer is here"
    return Texts(counted, None, vocabulary, context, (told,))


def workload_of(spec: RunSpec, texts: Texts, scratch: Path) -> tuple[Workload, Amount, tuple[str, ...]]:
    """What is to be simulated, how often a run does it, and what was assumed.

    Args:
        scratch: a folder for what a simulation must find on disk.
    """
    work, amount, assumed = Workload(seed=spec.seed), Amount(), texts.assumed
    if spec.training is not None:
        train = _cut(spec, spec.training, texts.parts.train, texts)
        validation = _cut(spec, spec.training, texts.parts.validation, texts)
        work = replace(work, train=train, validation=validation, lessons=_lessons(spec, train, texts, scratch))
        amount = _training(spec.training, len(train))
    if spec.augment is not None:
        assumed += ("augmented copies are taken to be as long as the other examples, and their time is not counted",)
    if spec.benchmarks:
        assumed += ("benchmarks are not simulated: rows of as many tokens, but prompts of their own",)
    if spec.trial is not None:
        return work, amount, assumed  # nothing is scored
    return *_scoring(spec, texts, work, amount), assumed


def _cut(spec: RunSpec, training: Training, items: Items, texts: Texts) -> Items:
    length = training.max_length
    return cut_to(cut_windows(items, length, texts.context, texts.tokenizer or _Silent()), length)[0]


def _lessons(spec: RunSpec, train: Sequence[Encoded], texts: Texts, scratch: Path) -> Path | None:
    if spec.teacher is None:
        return None
    return blank_lessons(train, spec.method.options["top_k"], texts.vocabulary, scratch / spec.run_id)


def _training(training: Training, examples: int) -> Amount:
    updates = training.total_updates(examples)
    epochs = updates * training.batch_size / examples if training.updates else float(training.epochs or 1)
    return Amount(epochs=epochs, updates=updates)


def _scoring(spec: RunSpec, texts: Texts, work: Workload, amount: Amount) -> tuple[Workload, Amount]:
    test = scored_items(spec, texts.parts.test, texts.context, texts.tokenizer or _Silent())
    task, chosen = spec.task.task, spec.task.task.predict == "score"
    writes = needs(spec, "generation")
    likelihood = needs(spec, "likelihood") or (writes and chosen) or bool(spec.benchmarks)
    if likelihood:
        work = replace(work, scored=test, hits=reads(spec, "hits") or bool(spec.benchmarks))
    if writes and not chosen:
        answers = [min(item.answer_tokens, task.max_new_tokens) for item in test]
        work = replace(work, prompts=[item.prompt for item in test], answer_tokens=task.max_new_tokens)
        return replace(work, generation=task.generation), replace(amount, answers=answers)
    if task.samples.count and test and test[0].prompt_length == 0:
        prompts = [test[0].tokens[:8]] * task.samples.count
        return replace(work, prompts=prompts, answer_tokens=task.samples.tokens), replace(
            amount, answers=[task.samples.tokens] * task.samples.count
        )
    return work, amount
