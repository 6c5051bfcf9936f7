"""Rows of two parts that ask the same, or of one part: each pair once, in the sharpest way that it does."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fairtune.data.leak_keys import LeakPart
from fairtune.data.near import MOST, Hashes, Ints, NearIndex, Pairs

TOO_MANY = f"more than {MOST:,} pairs of rows are nearly the same"
# Near rows of one part are looked for in memory: ten million words take a minute and a gigabyte.
_WITHIN_WORDS = 10_000_000
# Words of held-out questions that are indexed at a time, and words that are read to look for them.
_INDEXED, _SOUGHT_IN = 2_000_000, 200_000_000


@dataclass(frozen=True)
class Match:
    """A pair of rows by their places, as an example of how parts overlap. ``similarity``, ``inside``: as of Pairs."""

    first: int
    second: int
    similarity: float = 1.0
    inside: bool = False


@dataclass(frozen=True)
class Matches:
    """``pairs``: how many there are, None if nobody knows (``reason``); ``second``: rows of the second part in them."""

    pairs: int | None
    second: Ints
    examples: tuple[Match, ...]
    reason: str | None = None


def exact_between(first: LeakPart, second: LeakPart, told: int) -> Matches:
    """Rows that say the same, word for word."""
    counts = _counts(first.exact, second.exact)
    rows = np.flatnonzero(counts)
    found = (Match(int(np.flatnonzero(first.exact == second.exact[row])[0]), int(row)) for row in rows[:told])
    return Matches(int(counts.sum()), rows, tuple(found))


def normalised_between(first: LeakPart, second: LeakPart, told: int) -> Matches:
    """Rows that ask the same but for case, white space, punctuation and Unicode form, or answer it otherwise."""
    counts = _counts(first.question, second.question) - _counts(first.exact, second.exact)
    rows = np.flatnonzero(counts)

    def other(row: int) -> int:
        same, exact = first.question == second.question[row], first.exact == second.exact[row]
        return int(np.flatnonzero(same & ~exact)[0])

    return Matches(int(counts.sum()), rows, tuple(Match(other(int(row)), int(row)) for row in rows[:told]))


def exact_within(part: LeakPart, told: int) -> Matches:
    """Rows that say what an earlier one says, word for word."""
    return _repeats(part.exact, _pairs_of_equals(part.exact), np.ones(len(part.exact), dtype=bool), told)


def normalised_within(part: LeakPart, told: int) -> Matches:
    """Rows that ask what an earlier one asks, and are not the same word for word."""
    _, first, group = np.unique(part.question, return_index=True, return_inverse=True)
    other = part.exact != part.exact[first][group]
    pairs = _pairs_of_equals(part.question) - _pairs_of_equals(part.exact)
    return _repeats(part.question, pairs, other, told)


def _repeats(hashes: Hashes, pairs: int, counted: npt.NDArray[np.bool_], told: int) -> Matches:
    _, first, group = np.unique(hashes, return_index=True, return_inverse=True)
    earlier = first[group]
    rows = np.flatnonzero((earlier != np.arange(len(hashes))) & counted)
    return Matches(pairs, rows, tuple(Match(int(earlier[row]), int(row)) for row in rows[:told]))


def _counts(first: Hashes, second: Hashes) -> Ints:
    """How many of the first are equal to each of the second."""
    ordered = np.sort(first)
    return np.searchsorted(ordered, second, side="right") - np.searchsorted(ordered, second, side="left")


def _pairs_of_equals(hashes: Hashes) -> int:
    _, sizes = np.unique(hashes, return_counts=True)
    return int((sizes * (sizes - 1) // 2).sum())


# --- near ----------------------------------------------------------------------------------------------------------


def near_rows(first: LeakPart, second: LeakPart) -> Pairs:
    """Rows of the first part, and the different questions of the second that they nearly ask or hold.

    ``second`` counts :attr:`LeakPart.questions`. Rows that ask the same are not among them.
    """
    found = _searched(first, second)
    rows, texts, similarity, inside = (
        np.concatenate([getattr(pairs, side) for pairs in found])
        for side in ("first", "second", "similarity", "inside")
    )
    # A row that both asks a question nearly and holds it in its answer is one pair, by the better of the two.
    order = np.lexsort((inside, -similarity, rows, texts))
    rows, texts = rows[order], texts[order]
    new = np.ones(len(rows), dtype=bool)
    new[1:] = (rows[1:] != rows[:-1]) | (texts[1:] != texts[:-1])
    complete = all(pairs.complete for pairs in found) and len(order) <= MOST
    return Pairs(rows[new], texts[new], similarity[order][new], inside[order][new], complete)


def too_large(first: LeakPart, second: LeakPart) -> str | None:
    """Why near rows of these two are not looked for, if they are not: training is read once for every block."""
    read = -(-second.asked // _INDEXED) * first.words
    if read <= _SOUGHT_IN:
        return None
    return (
        f"near rows are looked for while that takes reading at most {_SOUGHT_IN:,} words, once for every "
        f"{_INDEXED:,} words of held-out questions; here it would take {read:,}"
    )


def _searched(first: LeakPart, second: LeakPart) -> list[Pairs]:
    """By blocks of the second part, whose index lies in memory. What is a template is seen from each block."""
    found = [Pairs.none()]
    for start, texts in second.questions.blocks(_INDEXED):
        index = NearIndex(texts)
        for kind in ("questions", "insides"):
            pairs = index.search(getattr(first, kind), whole=kind == "questions")
            found.append(_of_rows(replace(pairs, first=pairs.first + start), first, second, kind))
        if sum(map(len, found)) > MOST:
            break
    return found


def _of_rows(pairs: Pairs, first: LeakPart, second: LeakPart, kind: str) -> Pairs:
    """Pairs of texts, held-out ones first, as pairs of training rows and held-out questions."""
    texts = first.questions if kind == "questions" else first.insides
    rows, which = texts.owners(pairs.second)
    held = pairs.first[which]
    other = first.question[rows] != second.questions.hashes[held]
    return Pairs(rows[other], held[other], pairs.similarity[which][other], pairs.inside[which][other], pairs.complete)


def near_between(first: LeakPart, second: LeakPart, told: int, without: Ints) -> Matches:
    """Rows of the second part whose question is nearly asked in the first, or stands inside a row of it.

    ``without``: rows that are told otherwise.
    """
    reason = too_large(first, second)
    if reason:
        return Matches(None, np.zeros(0, np.int64), (), reason)
    near = near_rows(first, second)
    rows, which = second.questions.owners(near.second)
    others = ~np.isin(rows, without)
    rows, which = rows[others], which[others]
    best = np.lexsort((near.first[which], -near.similarity[which]))
    _, once = np.unique(rows[best], return_index=True)
    chosen = best[np.sort(once)][:told]
    examples = tuple(
        Match(
            int(near.first[which[at]]), int(rows[at]), float(near.similarity[which[at]]), bool(near.inside[which[at]])
        )
        for at in chosen
    )
    return Matches(len(rows) if near.complete else None, np.unique(rows), examples, None if near.complete else TOO_MANY)


def near_within(part: LeakPart, told: int) -> Matches:
    """Rows of a part that ask nearly what an earlier one asks."""
    if part.words > _WITHIN_WORDS:
        reason = f"near rows are looked for within at most {_WITHIN_WORDS:,} words; here are {part.words:,}"
        return Matches(None, np.zeros(0, np.int64), (), reason)
    near = NearIndex(part.questions[:]).within()
    sizes, begins = part.questions.sizes, part.questions.firsts
    later = np.where(begins[near.first] > begins[near.second], near.first, near.second)
    rows = np.unique(part.questions.owners(np.unique(later))[0])
    best = np.argsort(-near.similarity, kind="stable")[:told]
    places = np.sort(np.stack([begins[near.first[best]], begins[near.second[best]]], axis=1), axis=1)
    alike = near.similarity[best].tolist()
    examples = tuple(Match(first, second, like) for (first, second), like in zip(places.tolist(), alike, strict=True))
    pairs = int((sizes[near.first] * sizes[near.second]).sum())
    return Matches(pairs if near.complete else None, rows, examples, None if near.complete else TOO_MANY)
