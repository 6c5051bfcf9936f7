"""Easy data augmentation: one of four small changes to the words of a prompt.

Wei & Zou 2019, section 2. For a text of ``l`` words, ``n = alpha l`` of them, at least one:

* synonym replacement: n words that are not stop words, each replaced by a random synonym of it;
* random insertion: n times, a random synonym of a random word that is no stop word, at a random place;
* random swap: n times, two random words change places;
* random deletion: every word goes with probability ``p = alpha``; one stays if all would.

A variant is made by one operation, drawn at random, as in the paper. Other than the authors' own code, this keeps
case, punctuation and white space: models that generate text see them. Words are what white space separates, so a
language written without spaces needs another kind.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field

from fairtune.data.augment.protocol import Augmentation, Change, TextOptions, Tools
from fairtune.data.augment.stop_words import STOP_WORDS
from fairtune.data.augment.synonyms import Synonyms, read_synonyms, synonyms_fingerprint
from fairtune.data.augment.words import Words, bare
from fairtune.study.fields import Number

Operation = Literal["synonym_replacement", "random_insertion", "random_swap", "random_deletion"]
_ALL: tuple[Operation, ...] = get_args(Operation)
Rate = Annotated[Number, Field(gt=0, le=1)]


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class EdaOptions(TextOptions):
    """How much is changed, by which operations, with whose synonyms."""

    alpha: Rate = Field(
        default=0.1, description="share of words that an operation changes; chance of each to be deleted"
    )
    rates: dict[Operation, Rate] = Field(default={}, description="an alpha of its own for some of the operations")
    operations: Annotated[tuple[Operation, ...], BeforeValidator(_as_list), Field(min_length=1)] = Field(
        default=_ALL, description="those to draw from"
    )
    synonyms: str = Field(
        default="wordnet",
        min_length=1,
        description="wordnet · ./folder with its data.* files · ./words.tsv of your own",
    )

    def needs_synonyms(self) -> bool:
        """Whether an operation does."""
        return any(operation in _WITH_SYNONYMS for operation in self.operations)


def changed_words(alpha: float, words: int) -> int:
    """``n``: the whole part of ``alpha × words``, at least 1."""
    return max(1, math.floor(alpha * words + 1e-9))  # 0.29 × 100 is a hair below 29 in binary


def synonym_replacement(text: str, alpha: float, draw: Random, synonyms: Synonyms) -> str:
    """As many other words as are asked for, or as have synonyms."""
    words = Words.of(text)
    known = _replaceable(words, synonyms)
    chosen = draw.sample(sorted(known), min(len(known), changed_words(alpha, len(words.words))))
    changed: dict[int, str] = {}
    for index in chosen:
        before, word, behind = bare(words.words[index])
        changed[index] = before + _cased(draw.choice(known[index]), word) + behind
    return str(words.with_words(changed))


def random_insertion(text: str, alpha: float, draw: Random, synonyms: Synonyms) -> str:
    """As many words more."""
    words = Words.of(text)
    known = _replaceable(words, synonyms)
    for _ in range(changed_words(alpha, len(words.words)) if known else 0):
        synonym = draw.choice(known[draw.choice(sorted(known))])
        words = words.with_inserted(draw.randint(0, len(words.words)), synonym)
    return str(words)


def random_swap(text: str, alpha: float, draw: Random, synonyms: Synonyms) -> str:
    """The same words in another order."""
    words = Words.of(text)
    for _ in range(changed_words(alpha, len(words.words)) if len(words.words) > 1 else 0):
        first, second = draw.sample(range(len(words.words)), 2)
        words = words.with_words({first: words.words[second], second: words.words[first]})
    return str(words)


def random_deletion(text: str, alpha: float, draw: Random, synonyms: Synonyms) -> str:
    """Fewer words, at least one."""
    words = Words.of(text)
    if len(words.words) < 2:
        return text
    kept = [index for index in range(len(words.words)) if draw.random() >= alpha]
    return str(words.only(kept or [draw.randrange(len(words.words))]))


_OPERATIONS: Mapping[str, Callable[[str, float, Random, Synonyms], str]] = {
    "synonym_replacement": synonym_replacement,
    "random_insertion": random_insertion,
    "random_swap": random_swap,
    "random_deletion": random_deletion,
}
_WITH_SYNONYMS = ("synonym_replacement", "random_insertion")


def _replaceable(words: Words, synonyms: Synonyms) -> dict[int, Sequence[str]]:
    """Synonyms by position, of the words that have any and are no stop words."""
    found = {}
    for index, whole in enumerate(words.words):
        word = bare(whole)[1].lower()
        if word not in STOP_WORDS and synonyms.get(word):
            found[index] = synonyms[word]
    return found


def _cased(synonym: str, word: str) -> str:
    """A capital letter where the word had one."""
    return synonym[:1].upper() + synonym[1:] if word[:1].isupper() else synonym


def _change(options: EdaOptions, texts: Sequence[str], tools: Tools) -> Change:
    wanted = {bare(word)[1].lower() for text in texts for word in Words.of(text).words} - STOP_WORDS
    synonyms = read_synonyms(options.synonyms, tools.root, wanted) if options.needs_synonyms() else {}

    def change(texts: Sequence[str], draw: Random) -> list[str]:
        operation = draw.choice(options.operations)
        alpha = options.rates.get(operation, options.alpha)
        return [_OPERATIONS[operation](text, alpha, draw, synonyms) for text in texts]

    return change


def _fingerprint(options: EdaOptions, root: Path) -> str:
    return synonyms_fingerprint(options.synonyms, root) if options.needs_synonyms() else ""


EDA = Augmentation(
    name="eda",
    summary="words of the prompt replaced by synonyms, inserted, swapped or deleted",
    paper="Wei & Zou 2019, arXiv:1901.11196",
    options=EdaOptions,
    words=_change,
    fingerprint=_fingerprint,
    places=("synonyms",),
)
