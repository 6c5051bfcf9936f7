"""A part of a task as the leak check reads it: a few numbers for every row, and its texts when they are asked for."""

from __future__ import annotations

import bisect
import functools
import hashlib
import itertools
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fairtune.data.by_place import ByPlace
from fairtune.data.examples import Example, asked
from fairtune.data.near import LONG, Hashes, Ints, ranges
from fairtune.data.words import normalised

# A longer document has so much of the language in it that a short text stands there by chance. It is looked at in
# pieces, each of which begins with the last words of the one before, so that what is sought is whole in one of them.
_DOCUMENT, _OVERLAP = 4_000, 1_000
# Words; each takes about seven bytes.
_IN_MEMORY = 2_000_000


class Texts(ByPlace[str]):
    """Different texts of a part, read again whenever they are asked for, and the rows that have each."""

    def __init__(self, read: Callable[[int], list[str]], rows: Ints, pieces: Ints, hashes: Hashes) -> None:
        found, first, group = np.unique(hashes, return_index=True, return_inverse=True)
        order = np.argsort(first)  # as they are read, so that a row is read once for all its pieces
        group = np.argsort(order)[group]
        self.hashes: Hashes = found[order]
        self.firsts: Ints = rows[first[order]]
        """The first row that has each text."""
        self.sizes: Ints = np.bincount(group, minlength=len(first)).astype(np.int64)
        """How many rows have it."""
        self._read, self._pieces = read, pieces[first[order]]
        self._owners = rows[np.argsort(group, kind="stable")]
        self._begins = np.cumsum(self.sizes) - self.sizes

    def __len__(self) -> int:
        return len(self.firsts)

    def at(self, place: int) -> str:
        """Read from the first row that has it."""
        return self._read(int(self.firsts[place]))[int(self._pieces[place])]

    def blocks(self, words: int) -> Iterator[tuple[int, list[str]]]:
        """Texts in order, about so many words at a time, and the place of the first of each block."""
        block: list[str] = []
        size = 0
        for place, text in enumerate(self):
            block.append(text)
            size += text.count(" ") + 1
            if size >= words or place + 1 == len(self):
                yield place + 1 - len(block), block
                block, size = [], 0

    def owners(self, texts: Ints) -> tuple[Ints, Ints]:
        """The rows of each text, one after another, and which of the asked ones each row is of."""
        sizes = self.sizes[texts]
        return self._owners[ranges(self._begins[texts], sizes)], np.repeat(np.arange(len(texts)), sizes)


@dataclass(frozen=True)
class LeakPart:
    """A part's rows in order, and three hashes for each: arrays of ``(rows,)``.

    ``exact``: of every message; ``whole``: the same, normalised; ``question``: of what is asked, normalised.
    ``words``: of all questions and answers; ``asked``: of the questions.
    """

    name: str
    rows: Sequence[Example]
    exact: Hashes
    whole: Hashes
    question: Hashes
    words: int
    asked: int

    @classmethod
    def of(cls, name: str, rows: Sequence[Example]) -> LeakPart:
        """Reads every row once."""
        found = np.zeros((len(rows), 3), dtype=np.uint64)
        words = asked_words = 0
        for index, example in enumerate(rows):
            question = question_of(example)
            answer = "" if example.is_text else normalised(example.answer)
            asked_words += question.count(" ") + 1
            words += question.count(" ") + answer.count(" ") + 2
            said = "\n".join(f"{message.role} {message.content}" for message in example.messages)
            found[index] = _hash(said), _hash(f"{question}\n{answer}"), _hash(question)
        return cls(name, rows, found[:, 0], found[:, 1], found[:, 2], words, asked_words)

    @classmethod
    def together(cls, parts: Sequence[LeakPart]) -> LeakPart:
        """Parts as one, called as the first of them."""
        if len(parts) == 1:
            return parts[0]
        exact, whole, question = (
            np.concatenate([getattr(part, key) for part in parts]) for key in ("exact", "whole", "question")
        )
        rows = Chain([part.rows for part in parts])
        words, asked_words = sum(part.words for part in parts), sum(part.asked for part in parts)
        return cls(parts[0].name, rows, exact, whole, question, words, asked_words)

    @property
    def repeated(self) -> int:
        """Rows that say what an earlier one says, but for case, white space, punctuation and Unicode form."""
        return len(self.rows) - len(np.unique(self.whole))

    @functools.cached_property
    def questions(self) -> Texts:
        """What is asked, and documents that are not long."""
        short = np.array([not is_long(example) for example in self.rows], dtype=bool)
        rows = np.flatnonzero(short)
        read = self._remembered(lambda row: [question_of(self.rows[row])])
        return Texts(read, rows, np.zeros_like(rows), self.question[short])

    @functools.cached_property
    def insides(self) -> Texts:
        """What others may stand inside besides: answers, and pieces of long documents."""
        read = self._remembered(lambda row: _insides(self.rows[row]))
        rows, pieces, hashes = array("q"), array("q"), array("Q")
        for row in range(len(self.rows)):
            for piece, text in enumerate(read(row)):
                rows.append(row)
                pieces.append(piece)
                hashes.append(_hash(text))
        return Texts(read, *(np.asarray(kept) for kept in (rows, pieces, hashes)))

    def _remembered(self, read: Callable[[int], list[str]]) -> Callable[[int], list[str]]:
        """A few comparisons read every text. Of a part that is large, only the row at hand is kept."""
        return functools.lru_cache(maxsize=None if self.words < _IN_MEMORY else 1)(read)


class Chain(ByPlace[Example]):
    """Rows of several parts, one after another."""

    def __init__(self, parts: Sequence[Sequence[Example]]) -> None:
        self._parts = parts
        self._ends = list(itertools.accumulate(len(part) for part in parts))

    def __len__(self) -> int:
        return self._ends[-1]

    def at(self, place: int) -> Example:
        """The row of the part that it falls into."""
        part = bisect.bisect_right(self._ends, place)
        return self._parts[part][place - (self._ends[part] - len(self._parts[part]))]


def question_of(example: Example) -> str:
    """The words of what is asked."""
    return normalised("\n".join(asked(example)))


def is_long(example: Example) -> bool:
    """A document that is looked at in pieces."""
    # A word has at least one character, so most documents are seen to be short before they are normalised.
    may_be = example.is_text and len(example.answer) > _DOCUMENT
    return may_be and _is_long(normalised(example.answer).split(" "))


def _is_long(words: list[str]) -> bool:
    return len(words) > _DOCUMENT


def _insides(example: Example) -> list[str]:
    if example.is_text and not is_long(example):
        return []
    words = normalised(example.answer).split(" ")
    if not example.is_text:
        return [" ".join(words)] if len(words) >= LONG else []
    return [
        " ".join(words[start : start + _DOCUMENT]) for start in range(0, len(words) - _OVERLAP, _DOCUMENT - _OVERLAP)
    ]


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
