"""Test items that stand in the training data: word for word, but for case and marks, or nearly."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fairtune.cache import recall, remember
from fairtune.data.examples import Example, asked, leak_key
from fairtune.data.leak_keys import Chain, LeakPart
from fairtune.data.leak_matches import (
    TOO_MANY,
    Match,
    Matches,
    exact_between,
    exact_within,
    near_between,
    near_rows,
    near_within,
    normalised_between,
    normalised_within,
    too_large,
)
from fairtune.data.passages import Passages, has_passages, passages
from fairtune.errors import DataError

Kind = Literal["exact", "normalised", "near"]
KINDS: tuple[Kind, ...] = ("exact", "normalised", "near")
# Results of another version are not read again.
CHECK_VERSION = 2

_TOLD, _EXCERPT = 10, 400


@dataclass(frozen=True)
class LeakPair:
    """Two rows that ask the same, for people to look at: one of each part, places and beginnings of what is asked.

    ``similarity``: Jaccard's over runs of three words; where ``inside``, the share of the second row's question that
    stands in the first row. ``rows``: their places, counting training and what was taken out of it as one where both
    are of one part.
    """

    between: tuple[str, str]
    kind: Kind
    ids: tuple[str, str]
    where: tuple[str, str]
    texts: tuple[str, str]
    similarity: float = 1.0
    inside: bool = False
    rows: tuple[int, int] = field(default=(0, 0), compare=False)


@dataclass(frozen=True)
class LeakOverlap:
    """What two parts share in one way. ``ids``: rows of the second part, or later rows where both are one part."""

    between: tuple[str, str]
    kind: Kind
    pairs: int | None
    ids: tuple[str, ...]
    reason: str | None = None


@dataclass(frozen=True)
class Leaks:
    """What a check found.

    ``rows``: how many were looked at, by part. ``taken``: those parts that came out of the training data.
    ``duplicates``: rows of the training data, parts taken from it included, that repeat an earlier one.
    ``left_out``: rows that training goes without, being near to an item that was taken out of it.
    """

    rows: dict[str, int]
    overlaps: tuple[LeakOverlap, ...]
    taken: tuple[str, ...]
    duplicates: int
    left_out: int
    examples: tuple[LeakPair, ...]
    version: int = CHECK_VERSION

    def ids(self, *between: str) -> tuple[str, ...]:
        """Rows of the second part that stand in the first in any way, each once."""
        found = (name for overlap in self.overlaps if overlap.between == between for name in overlap.ids)
        return tuple(dict.fromkeys(found))

    def as_given(self) -> Leaks:
        """The same for whoever gave the data: what was taken out of the training data is training data too.

        Whether a row of that file which is a test item as well went into training or validation is the split's luck.
        """
        merged: dict[tuple[tuple[str, str], Kind], list[LeakOverlap]] = {}
        for overlap in self.overlaps:
            merged.setdefault((self._given(overlap.between), overlap.kind), []).append(overlap)
        overlaps = tuple(_sum(between, kind, found) for (between, kind), found in merged.items())
        examples = tuple(replace(pair, between=self._given(pair.between)) for pair in self.examples)
        return replace(self, overlaps=overlaps, examples=examples)

    def _given(self, between: tuple[str, str]) -> tuple[str, str]:
        first, second = between
        return ("train", second) if first in self.taken and second not in self.taken else between

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        found = asdict(self)
        for pair in found["examples"]:
            del pair["rows"]
        return found

    def stored(self) -> dict[str, Any]:
        """What content alone decides; :func:`placed` says the files and lines again."""
        return asdict(replace(self, examples=tuple(replace(pair, where=("", "")) for pair in self.examples)))

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> Leaks:
        """The inverse of :meth:`plain` or :meth:`stored`, through JSON and back."""
        overlaps = tuple(
            LeakOverlap(**{**found, "between": tuple(found["between"]), "ids": tuple(found["ids"])})
            for found in plain["overlaps"]
        )
        pairs = ("between", "ids", "where", "texts", "rows")
        examples = tuple(
            LeakPair(**{**found, **{key: tuple(found[key]) for key in pairs if key in found}})
            for found in plain["examples"]
        )
        return cls(**{**plain, "overlaps": overlaps, "taken": tuple(plain["taken"]), "examples": examples})


def _sum(between: tuple[str, str], kind: Kind, found: Sequence[LeakOverlap]) -> LeakOverlap:
    pairs = [overlap.pairs for overlap in found if overlap.pairs is not None]
    ids = tuple(dict.fromkeys(name for overlap in found for name in overlap.ids))
    reason = next((overlap.reason for overlap in found if overlap.reason), None)
    return LeakOverlap(between, kind, sum(pairs) if len(pairs) == len(found) else None, ids, reason)


def check_leaks(
    parts: Mapping[str, Sequence[Example]],
    against: Mapping[str, Sequence[Example]] | None = None,
    taken: Collection[str] = (),
    left_out: int = 0,
) -> Leaks:
    """Looks for rows that stand in more than one part, or twice in training.

    Args:
        parts: ``train``, ``validation`` and ``test``.
        against: more held-out sets by name, sought in training too.
        taken: those parts that came out of the training data, whose repeated rows count as its own.
        left_out: rows that were left out of training before.
    """
    read = {name: LeakPart.of(name, rows) for name, rows in {**parts, **(against or {})}.items()}
    whole = LeakPart.together([read["train"], *(read[name] for name in taken)])
    found = [*_within(whole)]
    for first, second in _comparisons(read, against or {}, taken):
        found += _between(first, second)
    return Leaks(
        rows={name: len(part.rows) for name, part in read.items()},
        overlaps=tuple(overlap for overlap, _ in found if overlap.pairs != 0),
        taken=tuple(taken),
        duplicates=whole.repeated,
        left_out=left_out,
        examples=tuple(pair for _, pairs in found for pair in pairs),
    )


def stand_in(parts: Sequence[LeakPart], name: str, rows: Sequence[Example]) -> list[LeakOverlap]:
    """What a held-out set, by its name, shares with each part, kind after kind; pairs of rows that share nothing are
    left out."""
    held_out = LeakPart.of(name, rows)
    found = [overlap for part in parts for overlap, _ in _between(part, held_out)]
    return [overlap for overlap in found if overlap.pairs != 0]


Found = tuple[LeakOverlap, list[LeakPair]]


def _within(part: LeakPart) -> Iterator[Found]:
    for kind, of in zip(KINDS, (exact_within, normalised_within, near_within), strict=True):
        yield _told(part, part, kind, of(part, _TOLD))


def _between(first: LeakPart, second: LeakPart) -> Iterator[Found]:
    """Documents that do not stand in the first part as a whole are sought there in passages, each an item."""
    exact, normalised = exact_between(first, second, _TOLD), normalised_between(first, second, _TOLD)
    long = np.fromiter(map(has_passages, second.rows), dtype=bool, count=len(second.rows))
    documents = np.setdiff1d(np.flatnonzero(long), np.concatenate([exact.second, normalised.second]))
    shared = passages(first.rows, second.rows, documents)
    yield _told(first, second, "exact", exact)
    yield _with_passages(first, second, _told(first, second, "normalised", normalised), shared)
    yield _told(first, second, "near", near_between(first, second, _TOLD, documents))


def _told(first: LeakPart, second: LeakPart, kind: Kind, found: Matches) -> Found:
    between = first.name, second.name
    ids = tuple(second.rows[int(row)].id for row in found.second)
    pairs = [_pair(first, second, kind, match) for match in found.examples]
    return LeakOverlap(between, kind, found.pairs, ids, found.reason), pairs


def _pair(first: LeakPart, second: LeakPart, kind: Kind, match: Match) -> LeakPair:
    a, b = first.rows[match.first], second.rows[match.second]
    # What a question stands inside may be the answer, and further on than an excerpt reaches.
    texts = _around(a, b) if match.inside else _excerpt(asked(a)), _excerpt(asked(b))
    rows = match.first, match.second
    where = _where(first.name, first.rows, match.first), _where(second.name, second.rows, match.second)
    return LeakPair((first.name, second.name), kind, (a.id, b.id), where, texts, match.similarity, match.inside, rows)


def _where(name: str, rows: Sequence[Example], row: int) -> str:
    return rows[row].where or f"{name}, row {row + 1}"


def placed(found: Leaks, parts: Mapping[str, Sequence[Example]]) -> Leaks:
    """The same with the files and lines of these parts, which have the same content: it may lie elsewhere."""
    whole = Chain([parts["train"], *(parts[name] for name in found.taken)])

    def located(pair: LeakPair) -> LeakPair:
        sides = zip(pair.between, pair.rows, strict=True)
        one = pair.between[0] == pair.between[1]
        first, second = (_where(name, whole if one else parts[name], row) for name, row in sides)
        return replace(pair, where=(first, second))

    return replace(found, examples=tuple(map(located, found.examples)))


def _with_passages(first: LeakPart, second: LeakPart, found: Found, shared: Passages) -> Found:
    overlap, pairs = found
    if not len(shared):
        return found
    ids = (*overlap.ids, *(shared.name(second.rows, place) for place in range(len(shared))))
    more = [_passage(first, second, shared, place) for place in range(min(len(shared), _TOLD - len(pairs)))]
    return replace(overlap, pairs=(overlap.pairs or 0) + len(shared), ids=ids), [*pairs, *more]


def _passage(first: LeakPart, second: LeakPart, shared: Passages, place: int) -> LeakPair:
    rows = int(shared.train[place]), int(shared.rows[place])
    ids = first.rows[rows[0]].id, shared.name(second.rows, place)
    where = _where(first.name, first.rows, rows[0]), _where(second.name, second.rows, rows[1])
    text = shared.text(second.rows, place)
    return LeakPair((first.name, second.name), "normalised", ids, where, (text, text), rows=rows)


def _excerpt(texts: Iterable[str]) -> str:
    text = "\n".join(texts)
    return text if len(text) <= _EXCERPT else text[: _EXCERPT - 1] + "…"


def _around(row: Example, sought: Example) -> str:
    """The part of a row where most of a question's words begin to stand."""
    text = "\n".join(message.content for message in row.messages)
    words = "\n".join(asked(sought)).split()
    starts = [text.casefold().find(" ".join(words[at : at + 3]).casefold()) for at in range(max(1, len(words) - 2))]
    begin = max(0, next((at for at in starts if at >= 0), 0) - 20)
    return _excerpt(["…" * (begin > 0) + text[begin:]])


def _comparisons(
    read: Mapping[str, LeakPart], against: Iterable[str], taken: Collection[str]
) -> Iterator[tuple[LeakPart, LeakPart]]:
    for first, second in (("train", "test"), ("train", "validation"), ("validation", "test")):
        yield read[first], read[second]
    for name in against:
        for part in ("train", *taken):
            yield read[part], read[name]


def kept(train: Sequence[Example], *taken: Sequence[Example]) -> npt.NDArray[np.bool_]:
    """Shape ``(train,)``: rows that ask nothing that an item taken out of the same data asks, or nearly asks.

    Where the parts are so large that near rows are not looked for, nearly asking leaves no row out, and the leak check
    says why. A single document stays whatever its end says: songs have refrains. What was found is remembered, since
    every run of a study asks again.

    Args:
        train: rows that may stay.
        taken: the parts that were taken out of the same data.

    Raises:
        DataError: there are more near rows than can be told.
    """
    stays = np.ones(len(train), dtype=bool)
    if not any(map(len, taken)) or (len(train) == 1 and train[0].is_text):
        return stays
    key = _key(train, *taken)
    known = recall("left out", key)
    if known is None:
        known = " ".join(map(str, np.flatnonzero(_too_near(train, taken))))
        remember("left out", key, known)
    stays[[int(row) for row in known.split()]] = False
    return stays


def _key(train: Sequence[Example], *taken: Sequence[Example]) -> str:
    """Stands for the content of all, in order."""
    running = hashlib.sha256(f"{CHECK_VERSION} {len(train)}".encode())
    for example in itertools.chain(train, *taken):
        running.update(f" {example.id}".encode())
    return running.hexdigest()


def _too_near(train: Sequence[Example], taken: Sequence[Sequence[Example]]) -> npt.NDArray[np.bool_]:
    first, second = LeakPart.of("train", train), LeakPart.together([LeakPart.of("taken", part) for part in taken])
    found: npt.NDArray[np.bool_] = np.isin(first.question, second.question)
    if too_large(first, second):
        return found
    near = near_rows(first, second)
    if not near.complete:
        raise DataError(f"{TOO_MANY} in training and in the parts taken out of it; give these parts as files")
    found[[row for row, text in zip(near.first, near.second, strict=True) if _really(first, second, row, text)]] = True
    return found


def _really(first: LeakPart, second: LeakPart, row: int, text: int) -> bool:
    """Documents of few different words are near to each other by chance, and do not share thirteen in a row."""
    held_out = second.rows[int(second.questions.firsts[text])]
    return not has_passages(held_out) or len(passages([first.rows[int(row)]], [held_out], np.zeros(1, np.int64))) > 0


def overlap(train: Iterable[Example], held_out: Iterable[Example]) -> list[str]:
    """Ids of held-out examples whose question, folded, is asked in training too.

    A document of plain text is looked at in pieces of 13 words, ``id@word``, sought anywhere in the training text.
    """
    train, rows = list(train), list(held_out)
    questions = {leak_key(example) for example in train if not example.is_text}
    shared = passages(train, rows, np.flatnonzero([has_passages(example) for example in rows]))
    names = [(int(row), shared.name(rows, place)) for place, row in enumerate(shared.rows)]
    names += [(at, row.id) for at, row in enumerate(rows) if not row.is_text and leak_key(row) in questions]
    return [name for _, name in sorted(names, key=lambda named: named[0])]
