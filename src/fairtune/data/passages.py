"""Documents in passages: thirteen words in a row that stand in a training document, wherever they begin there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from fairtune.data.examples import Example, digest, folded
from fairtune.data.near import Hashes, Ints, WordHashes, mixed

# A document rarely stands twice as a whole, its sentences do. Thirteen words in a row are what Brown et al. 2020
# (appendix C) take for a sign that a text was seen. Text written without spaces is thus checked less sharply.
_WORDS = 13
# Odd, so that none of a word's 64 bits is lost.
_FACTORS = tuple(int(digest(f"passage {place}"), 16) * 2 + 1 for place in range(_WORDS))


@dataclass(frozen=True)
class Passages:
    """Passages of held-out documents that stand in training documents, each array ``(passages,)``.

    ``rows``: of the held-out part; ``starts``: the word with which each begins; ``train``: the first training row.
    """

    rows: Ints
    starts: Ints
    train: Ints

    def __len__(self) -> int:
        return len(self.rows)

    def name(self, held_out: Sequence[Example], place: int) -> str:
        """``id@word``."""
        return f"{held_out[int(self.rows[place])].id}@{self.starts[place]}"

    def text(self, held_out: Sequence[Example], place: int) -> str:
        """The words, folded."""
        start = int(self.starts[place])
        return " ".join(_words(held_out[int(self.rows[place])])[start : start + _WORDS])


def has_passages(example: Example) -> bool:
    """A document that is long enough to be looked at in passages."""
    return example.is_text and len(_words(example)) >= _WORDS


def passages(train: Iterable[Example], held_out: Sequence[Example], rows: Ints) -> Passages:
    """Every thirteenth run of thirteen words of some held-out documents, where it stands in a training document.

    64 bits are kept of each that is sought, and none of what is read.
    """
    known = WordHashes()
    found = [_runs(held_out[int(row)], known)[::_WORDS] for row in rows]
    counts = np.array([len(runs) for runs in found], dtype=np.int64)
    sought, place = np.unique(np.concatenate([np.zeros(0, np.uint64), *found]), return_inverse=True)
    first = _first_rows(sought, train, known)[place]
    starts = (np.arange(len(first)) - np.repeat(np.cumsum(counts) - counts, counts)) * _WORDS
    stands = first >= 0
    return Passages(np.repeat(np.asarray(rows, np.int64), counts)[stands], starts[stands], first[stands])


def _first_rows(sought: Hashes, train: Iterable[Example], known: WordHashes) -> Ints:
    """Shape ``(sought,)``: the first training row that has each, -1 where none has."""
    first = np.full(len(sought), -1, dtype=np.int64)
    for row, example in enumerate(train if len(sought) else ()):
        runs = _runs(example, known)
        places = np.minimum(np.searchsorted(sought, runs), len(sought) - 1)
        places = places[sought[places] == runs]
        first[places[first[places] < 0]] = row
    return first


def _runs(example: Example, known: WordHashes) -> Hashes:
    """64 bits for every run of thirteen words of a document, wherever it begins."""
    words = _words(example) if example.is_text else []
    return mixed(np.array([known[word] for word in words], dtype=np.uint64), _FACTORS)


def _words(document: Example) -> list[str]:
    return folded(document.answer).split(" ")
