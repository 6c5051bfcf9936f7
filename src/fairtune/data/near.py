"""Texts that are nearly the same: all pairs, found exactly, without looking at every pair.

A text is the set of its runs of three words. Two texts are near if their sets are: by Jaccard similarity, or since the
first stands inside the second. A pair that shares most of a set shares one of its rarest members (prefix filtering:
Chaudhuri et al. 2006, doi:10.1109/ICDE.2006.9; Xiao et al. 2008, doi:10.1145/1367497.1367516), so only those are looked
up, and what they bring is counted out. Nothing is drawn at random, and nothing near is missed.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import sparse

# Three words: one changed word in thirty leaves 0.8 of the set. With five, a single changed word hides a copy of fifty
# words; with two, questions of ten words that ask different things are near.
WORDS = 3
# Near is four fifths, in whole numbers so that nothing is rounded. Lee et al. 2022 (arXiv:2107.06499, appendix A) take
# the same for documents.
NEAR = (4, 5)
# A text of fewer words stands inside others by chance; thirteen are what Brown et al. 2020 (appendix C) look for.
LONG = 13
# In a text more than twice as long, one of fewer words than this must stand whole: "On a scale of 1 to 10, how
# satisfied are you with your job?" is not asked by a questionnaire about a purchase.
_WHOLE = 20
# A run of words in more texts than these is a template: it says what is asked of all of them, and not which one.
_TEMPLATE = {"least": 4, "texts": 20, "share": 100}

# Families of thousands of rows that differ in a word have more pairs than anybody looks at.
MOST = 5_000_000
_BLOCK = 1024
# Runs of words in the candidates that are counted out together; a few copies of them are made.
_CANDIDATES = 1_000_000
# Runs of words that are kept between two passes, of twelve bytes each.
_REMEMBERED = 4_000_000
_KNOWN_WORDS = 1_000_000
_FACTORS = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9)

Ints: TypeAlias = npt.NDArray[np.int64]
Hashes: TypeAlias = npt.NDArray[np.uint64]
Matrix: TypeAlias = Any
"""A sparse matrix of scipy, ``(texts, runs)``, 1 where a run stands in a text."""


@dataclass(frozen=True)
class Pairs:
    """Pairs of near texts by their positions, each array ``(pairs,)``.

    ``similarity`` is Jaccard's; where ``inside``, the share of the first that stands in the second.
    """

    first: Ints
    second: Ints
    similarity: npt.NDArray[np.float64]
    inside: npt.NDArray[np.bool_]
    complete: bool = True
    """Otherwise there are more than :data:`MOST`, and the rest was not looked for."""

    def __len__(self) -> int:
        return len(self.first)

    @classmethod
    def none(cls) -> Pairs:
        """No pair."""
        return cls(_NO_INTS, _NO_INTS, np.zeros(0), np.zeros(0, bool))


def template_above(texts: int) -> int:
    """In how many of so many texts a run of words may stand and still be a text's own.

    A hundredth, but twenty where they are few (a text may have that many edited copies), and half of a handful.
    """
    few = max(_TEMPLATE["least"], min(_TEMPLATE["texts"], texts // 2))
    return max(few, texts // _TEMPLATE["share"])


class NearIndex:
    """Different texts of :func:`~fairtune.data.words.normalised` words, ready to be compared with others."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._words = WordHashes()
        hashed, owners = _in_blocks(texts, self._words)
        self._runs, columns = np.unique(hashed, return_inverse=True)
        self._sets = _matrix(owners, columns, (len(texts), len(self._runs)))

    def within(self) -> Pairs:
        """All pairs of these texts with a Jaccard similarity of at least 0.8, the first before the second."""
        rule = _Rule(self._sets, _by_run(self._sets), self._sets.shape[0])
        other = _Other(self._sets, lambda rows: rule.size[rows])
        return _joined(_verified(rule, other, self._pairs_within(rule), inside=False))

    def search(self, others: Sequence[str], whole: bool = True) -> Pairs:
        """All pairs of one of these texts and one of the others.

        Args:
            others: different texts, read in blocks.
            whole: pairs of similar texts too, rather than only those where one of these stands inside another.
        """
        frequency, known = _by_run(self._sets), list[Matrix]()
        for start in _starts(len(others)):
            block = self._found_in(others[start : start + _BLOCK])
            frequency += _by_run(block)
            # Of others that are very many, the blocks are read a second time rather than kept.
            if sum(matrix.nnz for matrix in known) < _REMEMBERED:
                known.append(block)
        rule = _Rule(self._sets, frequency, len(others) + self._sets.shape[0])
        starts = itertools.zip_longest(_starts(len(others)), known)
        return _joined(
            pairs for start, sets in starts for pairs in self._search_block(rule, others, start, sets, whole)
        )

    def _search_block(
        self, rule: _Rule, others: Sequence[str], start: int, known: Matrix | None, whole: bool
    ) -> Iterator[Pairs]:
        sets = self._found_in(others[start : start + _BLOCK]) if known is None else known
        other = _Other(sets, lambda rows: self._sizes_of(others, rows + start))
        # Candidates: pairs of which the second has a rare run of the first.
        second, first = (sets @ rule.prefix.T).nonzero()
        for pairs in _verified(rule, other, iter([(first, second)]), whole=whole, inside=True):
            yield replace(pairs, second=pairs.second + start)

    def _pairs_within(self, rule: _Rule) -> Iterator[tuple[Ints, Ints]]:
        """Candidates: pairs of which both have the same rare run."""
        for start in _starts(len(rule.size)):
            first, second = (rule.prefix[: start + _BLOCK] @ rule.prefix[start : start + _BLOCK].T).nonzero()
            ahead = first < second + start
            yield first[ahead], second[ahead] + start

    def _found_in(self, texts: Sequence[str]) -> Matrix:
        """Which of these texts' runs stand in others."""
        hashed, owners = shingles(texts, self._words)
        if not len(self._runs):
            return _matrix(_NO_INTS, _NO_INTS, (len(texts), 0))
        columns = np.minimum(np.searchsorted(self._runs, hashed), len(self._runs) - 1)
        known = self._runs[columns] == hashed
        return _matrix(owners[known], columns[known], (len(texts), len(self._runs)))

    def _sizes_of(self, texts: Sequence[str], rows: Ints) -> Ints:
        """How many different runs some of the texts have."""
        asked, places = np.unique(rows, return_inverse=True)
        sizes = [len(np.unique(shingles([texts[int(row)]], self._words)[0])) for row in asked]
        return np.array(sizes, dtype=np.int64)[places]


# --- runs of words -------------------------------------------------------------------------------------------------


class WordHashes(dict[str, int]):
    """64 bits for every word, the same on every machine. What it remembers is bounded."""

    def __missing__(self, word: str) -> int:
        if len(self) >= _KNOWN_WORDS:
            self.clear()
        found = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
        self[word] = found
        return found


def shingles(texts: Sequence[str], words: WordHashes | None = None) -> tuple[Hashes, Ints]:
    """64 bits for every run of three words, and the text that each is of. A text of fewer words is one run."""
    known = WordHashes() if words is None else words
    numbers: list[int] = []
    lengths: list[int] = []
    for text in texts:
        split = text.split(" ")
        lengths.append(len(split))
        numbers.extend([known[word] for word in split])
        numbers.extend((0,) * (WORDS - 1))
    length = np.array(lengths, dtype=np.int64)
    padded = length + WORDS - 1
    counts = np.maximum(1, length - WORDS + 1)
    places = ranges(np.cumsum(padded) - padded, counts)
    return mixed(np.array(numbers, dtype=np.uint64), _FACTORS)[places], np.repeat(np.arange(len(texts)), counts)


def mixed(words: Hashes, factors: Sequence[int]) -> Hashes:
    """A number for every run of as many words as factors; multiplying by odd ones loses none of the 64 bits."""
    size = max(0, len(words) - len(factors) + 1)
    found = np.zeros(size, dtype=np.uint64)
    for offset, factor in enumerate(factors):
        found += words[offset : offset + size] * np.uint64(factor)
    return found


def ranges(begins: Ints, counts: Ints) -> Ints:
    """``begins[0], begins[0] + 1, …``, as many as there are, then from ``begins[1]``."""
    return np.repeat(begins - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())


def _in_blocks(texts: Sequence[str], words: WordHashes) -> tuple[Hashes, Ints]:
    found = [shingles(texts[start : start + _BLOCK], words) for start in _starts(len(texts))]
    hashed = np.concatenate([np.zeros(0, np.uint64), *(block for block, _ in found)])
    owners = [owner + start for start, (_, owner) in zip(_starts(len(texts)), found, strict=True)]
    return hashed, np.concatenate([_NO_INTS, *owners])


def _starts(texts: int) -> range:
    return range(0, texts, _BLOCK)


# --- which pairs ---------------------------------------------------------------------------------------------------


class _Rule:
    """What makes a pair near, given how common every run is.

    Where most of a text is template, what is its own must be near by itself too: rows that ask one word each after
    fifty that all of them share are not nearly the same.

    Attributes:
        sets: ``(texts, runs)``; ``size``: how many runs each has.
        own: ``(runs,)``, 1 for those that are no template; ``own_size``: how many of them each text has.
        prefix: of each text its rarest own runs, so many that a near pair cannot miss all of them.
    """

    def __init__(self, sets: Matrix, frequency: Ints, texts: int) -> None:
        self.sets, self.size = sets, _by_text(sets)
        self.own = (frequency <= template_above(texts)).astype(np.int64)
        self.own_size: Ints = sets @ self.own
        self.mostly_template = 2 * self.own_size < self.size
        may_differ = np.where(self.mostly_template, self.own_size, self.size) * (NEAR[1] - NEAR[0]) // NEAR[1]
        self.prefix = _rarest(sets, self.own, frequency, may_differ + 1)


@dataclass(frozen=True)
class _Other:
    """The other side: which of the runs stand in each text, and how many runs it has in all."""

    sets: Matrix
    sizes: Callable[[Ints], Ints]


def _verified(
    rule: _Rule, other: _Other, candidates: Iterator[tuple[Ints, Ints]], inside: bool, whole: bool = True
) -> Iterator[Pairs]:
    for first, second in candidates:
        for part in _parts(rule.size[first] + np.diff(other.sets.indptr)[second], _CANDIDATES):
            yield _near(rule, other, first[part], second[part], inside, whole)


def _parts(sizes: Ints, most: int) -> Iterator[slice]:
    """One behind the other, of about ``most`` in all."""
    ends = np.flatnonzero(np.diff(np.cumsum(sizes) // most)) + 1
    yield from itertools.starmap(slice, itertools.pairwise([0, *ends.tolist(), len(sizes)]))


def _near(rule: _Rule, other: _Other, first: Ints, second: Ints, inside: bool, whole: bool) -> Pairs:
    """Those candidates that are near: what they share, counted."""
    shared = rule.sets[first].multiply(other.sets[second]).tocsr()
    enough = _most(_by_text(shared), rule.size[first])  # Jaccard asks at least as much
    first, second, shared = first[enough], second[enough], shared[enough]
    common, common_own = _by_text(shared), shared @ rule.own
    size, own_size, template = rule.size[first], rule.own_size[first], rule.mostly_template[first]
    sizes = other.sizes(second)
    own_sizes = sizes - other.sets[second] @ (1 - rule.own)
    similar = _most(common, size + sizes - common) & (~template | _most(common_own, own_size + own_sizes - common_own))
    long = np.where(template, own_size, size) > LONG - WORDS
    may_lack = (size > _WHOLE - WORDS) | (sizes <= 2 * size)
    contained = long & (may_lack | (common == size)) & (~template | _most(common_own, own_size))
    near = (similar & whole) | (contained & inside)
    similarity = common / np.where(similar & whole, size + sizes - common, size)
    return Pairs(first[near], second[near], similarity[near], ~(similar & whole)[near])


def _most(part: Ints, of: Ints) -> npt.NDArray[np.bool_]:
    return (NEAR[1] * part >= NEAR[0] * of) & (part > 0)


def _joined(found: Iterator[Pairs]) -> Pairs:
    """In order of the first text, then of the second."""
    every = [Pairs.none()]
    count = 0
    for pairs in found:
        every.append(pairs)
        count += len(pairs)
        if count > MOST:
            break
    first, second, similarity, inside = (
        np.concatenate([getattr(pairs, side) for pairs in every])
        for side in ("first", "second", "similarity", "inside")
    )
    order = np.lexsort((second, first))
    return Pairs(first[order], second[order], similarity[order], inside[order], count <= MOST)


# --- matrices ------------------------------------------------------------------------------------------------------

_NO_INTS: Ints = np.zeros(0, dtype=np.int64)


def _matrix(rows: Ints, columns: Ints, shape: tuple[int, int]) -> Matrix:
    """1 wherever a row has a column, however often."""
    places = np.sort(rows * max(1, shape[1]) + columns)  # np.unique hashes, which takes ten times as long
    places = places[np.diff(places, prepend=-1) > 0]
    rows, columns = np.divmod(places, max(1, shape[1]))
    return sparse.csr_matrix((np.ones(len(places), dtype=np.int32), (rows, columns)), shape=shape)


def _by_text(sets: Matrix) -> Ints:
    return np.asarray(sets.sum(axis=1, dtype=np.int64)).ravel()


def _by_run(sets: Matrix) -> Ints:
    return np.asarray(sets.sum(axis=0, dtype=np.int64)).ravel()


def _rarest(sets: Matrix, own: Ints, frequency: Ints, counts: Ints) -> Matrix:
    """Of every row its ``counts[row]`` rarest columns that are its own."""
    rows, columns = sets.nonzero()
    kept = own[columns] > 0
    rows, columns = rows[kept].astype(np.int64), columns[kept].astype(np.int64)
    order = np.lexsort((columns, frequency[columns], rows))
    rows, columns = rows[order], columns[order]
    rank = np.arange(len(rows)) - np.searchsorted(rows, rows)
    first = rank < counts[rows]
    return _matrix(rows[first], columns[first], sets.shape)
