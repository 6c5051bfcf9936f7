"""Answers that are likeliest among those on offer, instead of what a model writes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fairtune.data import Encoded, Example, Message, encode_all
from fairtune.data.shapes.columns import shown
from fairtune.data.shapes.labels import no_label, parse, render
from fairtune.errors import DataError
from fairtune.evaluate.continuations import Continuation, score_continuations
from fairtune.evaluate.generation import Answer
from fairtune.models.load import LanguageModel

Done = Callable[[int], None]
Floats = npt.NDArray[np.float64]

# What a tokenizer may put around a text besides a token for each of its bytes, and the end of the turn.
_SPARE = 16


@dataclass(frozen=True)
class Offer:
    """An example, and the answers that it is chosen from."""

    example: Example
    options: Sequence[str]

    def encoded(self, tokenizer: Any, options: Sequence[str]) -> list[Encoded]:
        """The example with each of some options as its answer."""
        prompt = self.example.prompt
        answered = [replace(self.example, messages=(*prompt, Message("assistant", option))) for option in options]
        return encode_all(answered, tokenizer)


def require_room(offers: Iterable[Offer], tokenizer: Any, context: int | None) -> None:
    """Checks that every prompt fits the context with each of its options, the longest of them looked at first.

    Raises:
        DataError: one does not.
    """
    if context is None:
        return
    for offer in offers:
        longest = max(offer.options, key=lambda option: len(option.encode()))
        (item,) = offer.encoded(tokenizer, [longest])
        if item.prompt_length + len(longest.encode()) + _SPARE <= context:
            continue  # no option has more tokens than bytes, so the others need not be cut into any
        for option, item in zip(offer.options, offer.encoded(tokenizer, offer.options), strict=True):
            # The last token of an answer is predicted, never read.
            if len(item.tokens) - 1 > context:
                raise DataError(
                    f"example {offer.example.id} ({offer.example.where}): its prompt and the answer {shown(option)} "
                    f"need {len(item.tokens) - 1} tokens, and the model's context holds {context}; shorten the "
                    "prompt or the answer, write predict: generate, or take another model"
                )


def choose_options(model: LanguageModel, offers: Sequence[Offer], done: Done = lambda _: None) -> list[Answer]:
    """For every example the option of the largest log-likelihood, summed over its tokens and the one that ends it.

    This is the likelihood of answering this and nothing else, so a long option is not at a disadvantage that a mean
    over tokens would have to make up for: the end token is what tells "no" from the beginning of "none". Of equally
    likely options the first is chosen.

    Args:
        done: told how many options are scored so far.

    Raises:
        DataError: a prompt with an option is longer than the model reads.
    """
    answers = []
    for offer, (likelihoods, lengths) in zip(offers, _scored(model, offers, done), strict=True):
        best = int(np.argmax(likelihoods))
        answers.append(Answer(offer.options[best], lengths[best], True))
    return answers


def choose_label_sets(
    model: LanguageModel,
    test: Sequence[Example],
    validation: Sequence[Example],
    labels: Sequence[str],
    done: Done = lambda _: None,
) -> tuple[list[Answer], float]:
    """For every test example the labels that are likelier than none by more than a threshold, and the threshold.

    A label's score is the log-likelihood of answering this label alone, minus that of the answer for no label. The
    threshold is the one of the highest micro-F1 on the validation examples; the test examples have no part in it.

    Args:
        done: told how many answers are scored so far.

    Raises:
        DataError: a prompt with a label is longer than the model reads.
    """
    none = no_label(labels)
    offers = [Offer(example, (none, *labels)) for example in (*validation, *test)]
    found = _scored(model, offers, done)
    scores = np.array([likelihoods[1:] - likelihoods[0] for likelihoods, _ in found]).reshape(-1, len(labels))
    right = [[label in parse(example.answer, labels)[0] for label in labels] for example in validation]
    threshold = best_threshold(scores[: len(validation)], np.array(right))
    answers = []
    for own, (_, lengths) in zip(scores[len(validation) :], found[len(validation) :], strict=True):
        chosen = [place for place, score in enumerate(own) if score > threshold]
        tokens = sum(lengths[place + 1] for place in chosen) if chosen else lengths[0]
        answers.append(Answer(render([labels[place] for place in chosen], labels), tokens, True))
    return answers, threshold


def best_threshold(scores: Floats, right: npt.NDArray[np.bool_]) -> float:
    """The threshold above which scores name labels with the highest micro-F1; of equally good ones the highest.

    It lies halfway between two scores; at the highest score where naming none is best; a nat below the lowest where
    naming all is.

    Args:
        scores: ``(examples, labels)``.
        right: ``(examples, labels)``: whether the example has the label.
    """
    order = np.argsort(-scores.ravel(), kind="stable")
    falling, hits = scores.ravel()[order], right.ravel()[order]
    named = np.arange(len(falling) + 1)
    f1 = 2 * np.concatenate([[0], np.cumsum(hits)]) / np.maximum(named + hits.sum(), 1)
    # Equal scores are named together or not at all.
    apart = np.concatenate([[True], falling[:-1] > falling[1:], [True]])
    best = int(np.argmax(np.where(apart, f1, -1.0)))
    if best == 0:
        return float(falling[0])
    return float(falling[-1] - 1 if best == len(falling) else (falling[best - 1] + falling[best]) / 2)


def _scored(model: LanguageModel, offers: Sequence[Offer], done: Done) -> list[tuple[Floats, list[int]]]:
    """Of each example: the log-likelihood of every option as the whole answer, and its tokens without the end."""
    asked = []
    for offer in offers:
        for item in offer.encoded(model.tokenizer, offer.options):
            asked.append(Continuation(item.prompt, item.tokens[item.prompt_length :]))
    found = score_continuations(model, asked, done)
    if any(one.cut for one in found):
        raise DataError("a prompt and a label together are longer than the model's context; shorten the prompts")
    ends = np.cumsum([len(offer.options) for offer in offers]).tolist()
    return [
        (
            np.array([one.log_likelihood for one in found[end - len(offer.options) : end]]),
            [len(one.tokens) - 1 for one in asked[end - len(offer.options) : end]],
        )
        for offer, end in zip(offers, ends, strict=True)
    ]
