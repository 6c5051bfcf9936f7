"""The label that is likeliest as the whole answer, instead of what a model writes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from fairtune.data import Example, Message, encode_all
from fairtune.errors import DataError
from fairtune.evaluate.continuations import Continuation, score_continuations
from fairtune.evaluate.generation import Answer
from fairtune.models.load import LanguageModel


def choose_labels(
    model: LanguageModel,
    examples: Iterable[Example],
    labels: Sequence[str],
    done: Callable[[int], None] = lambda _: None,
) -> list[Answer]:
    """For every example the label of the largest log-likelihood, summed over its tokens and the one that ends it.

    This is the likelihood of answering this label and nothing else, so a long label is not at a disadvantage that a
    mean over tokens would have to make up for: the end token is what tells "no" from the beginning of "none". Of
    equally likely labels the first is chosen.

    Args:
        done: told how many labels are scored so far.

    Raises:
        DataError: a prompt with a label is longer than the model reads.
    """
    asked, lengths = [], []
    for example in examples:
        answered = [replace(example, messages=(*example.prompt, Message("assistant", label))) for label in labels]
        for item in encode_all(answered, model.tokenizer):
            asked.append(Continuation(item.prompt, item.tokens[item.prompt_length :]))
            lengths.append(len(item.tokens) - item.prompt_length - 1)
    found = score_continuations(model, asked, done)
    if any(one.cut for one in found):
        raise DataError("a prompt and a label together are longer than the model's context; shorten the prompts")
    answers = []
    for start in range(0, len(found), len(labels)):
        best = max(range(start, start + len(labels)), key=lambda place: found[place].log_likelihood)
        answers.append(Answer(labels[best - start], lengths[best], True))
    return answers
