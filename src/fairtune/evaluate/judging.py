"""A model as a judge: how likely it is to reply "A" rather than "B".

Nothing is generated and nothing is parsed: the reply is the likelier of two continuations, so any language model
judges, and every question has an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from scipy.special import expit

from fairtune.data import OneByOne, template_of
from fairtune.errors import ModelError
from fairtune.evaluate.continuations import Continuation, score_continuations
from fairtune.models.load import LanguageModel

_LETTERS = ("A", "B")


class Reader:
    """Questions to a judge as its tokenizer reads them, in its own chat template where it has one."""

    def __init__(self, tokenizer: object) -> None:
        self._tokens = OneByOne(tokenizer)
        self._template = template_of(tokenizer)

    def replies(self, question: str) -> tuple[Continuation, Continuation]:
        """The question continued by "A", and by "B". Without a template, a reply stands on a line of its own.

        Raises:
            ModelError: the tokenizer does not tell the letters apart.
            DataError: the template refuses the question.
        """
        if self._template is not None:
            text = self._template([{"role": "user", "content": question}], True)
            context = tuple(self._tokens.ids(text))
            first, second = (self._after(text, context, letter) for letter in _LETTERS)
        else:
            context = self._opening(f"{question}\n")
            first, second = (tuple(self._tokens.ids(letter)) for letter in _LETTERS)
        if first == second:
            raise ModelError(f"the judge's tokenizer has the same tokens {first} for A and B; it cannot judge")
        return Continuation(context, first), Continuation(context, second)

    def _after(self, text: str, context: tuple[int, ...], letter: str) -> tuple[int, ...]:
        """The letter's tokens where it follows the text, if the text's own stay what they are; else by itself."""
        whole = tuple(self._tokens.ids(text + letter))
        return whole[len(context) :] if whole[: len(context)] == context else tuple(self._tokens.ids(letter))

    def _opening(self, text: str) -> tuple[int, ...]:
        tokens = tuple(self._tokens.opening(text))
        return tokens[:-1] if len(tokens) > 1 and tokens[-1] == self._tokens.end else tokens


def first_preferred(
    model: LanguageModel, reader: Reader, questions: Sequence[str], done: Callable[[int], None] = lambda _: None
) -> list[float | None]:
    """Probability of "A" among "A" and "B", for every question; None for one that is longer than the model reads.

    Args:
        done: told how many questions are answered so far.

    Raises:
        ModelError, DataError: as for :meth:`Reader.replies`.
    """
    replies = [reader.replies(question) for question in questions]
    fitting = [pair for pair in replies if _fits(pair, model.context)]
    asked = [continuation for pair in fitting for continuation in pair]
    found = score_continuations(model, asked, lambda scored: done(scored // 2))
    pairs = zip(found[::2], found[1::2], strict=True)
    answers = iter([float(expit(a.log_likelihood - b.log_likelihood)) for a, b in pairs])
    return [next(answers) if _fits(pair, model.context) else None for pair in replies]


def _fits(pair: Sequence[Continuation], context: int | None) -> bool:
    """Nothing is cut: a judge that does not see the question, or the whole answer, judges something else."""
    return context is None or all(len(reply.context) + len(reply.tokens) - 1 <= context for reply in pair)
