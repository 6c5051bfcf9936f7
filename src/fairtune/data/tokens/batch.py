"""The texts of many examples tokenised together, each stretch of text once."""

from __future__ import annotations

import bisect
import itertools
from array import array
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from fairtune.data.encode import Draft, Line, OneByOne, Tokens, joined, line_of
from fairtune.data.tokens.splitter import Splitter


class BatchTokenizer:
    """A tokenizer, and what batches of its texts have in common."""

    def __init__(self, tokenizer: Any) -> None:
        self.one_by_one = OneByOne(tokenizer)
        self.splitter = Splitter(tokenizer)
        self._tokenizer = tokenizer
        self._backend = _plain_backend(tokenizer)

    def many(self, texts: Sequence[str], opening: bool) -> list[Tokens]:
        """The tokens of each text, on all cores; ``opening``: with what the tokenizer puts around them."""
        if not texts:
            return []
        if self._backend is None:
            found = self._tokenizer(list(texts), add_special_tokens=opening)["input_ids"]
            return [array("i", ids) for ids in found]
        encodings = self._backend.encode_batch_fast(list(texts), add_special_tokens=opening)
        return [array("i", one.ids) for one in encodings]


def _plain_backend(tokenizer: Any) -> Any:
    """The tokenizer's Rust part, cutting and padding nothing; None where the class does more than pass texts to it."""
    from transformers import PreTrainedTokenizerFast

    own = type(tokenizer)
    if not tokenizer.is_fast or own._encode_plus is not PreTrainedTokenizerFast._encode_plus:
        return None
    backend = tokenizer.backend_tokenizer  # every call of the tokenizer sets these three anew
    backend.no_truncation()
    backend.no_padding()
    backend.encode_special_tokens = tokenizer.split_special_tokens
    return backend


class _Stretches(NamedTuple):
    """A text's stretches; for each place it is to be cut at, the stretch, and what of it lies before the cut."""

    parts: list[str]
    cuts: list[tuple[int, str]]


class Batch:
    """Some examples' texts: first looked through, then tokenised, then read from like any ``Reader``."""

    def __init__(self, drafts: Sequence[Draft], tokenizer: BatchTokenizer) -> None:
        self._drafts, self._tokenizer = drafts, tokenizer
        self.special, self.end = tokenizer.one_by_one.special, tokenizer.one_by_one.end
        # The same text may be cut in two ways: who said what need not show in it.
        self._whole: dict[tuple[str, tuple[int, ...]], _Stretches | None] = {}
        self._parts: dict[str, list[str]] = {}
        self._wanted: set[str] = set()
        self._known: dict[str, Tokens] = {"": array("i")}
        self._known |= {text: array("i", [token]) for text, token in tokenizer.splitter.signs.items()}
        self._ids: dict[str, Tokens] = {}
        self._openings: dict[str, Tokens] = {}
        for draft in drafts:
            self._look_through(draft)

    def _look_through(self, draft: Draft) -> None:
        if draft.turns:
            text = draft.turns[-1].after
            found = _stretches(self._tokenizer.splitter.cut(text), draft.bounds)
            self._whole[text, draft.bounds] = found
            if found is not None:
                self._wanted.update(found.parts, [head for _, head in found.cuts])
            for turn in draft.turns:
                self._note(turn.tail)
        else:
            self._note(draft.example.answer)
            if not draft.example.is_text:
                self._openings[draft.prompt] = array("i")

    def _note(self, text: str) -> None:
        if text not in self._parts:
            self._parts[text] = self._tokenizer.splitter.cut(text)
            self._wanted.update(self._parts[text])

    def tokenise(self) -> Batch:
        """Tokenises all of them; the time goes here, mostly without Python's lock."""
        texts = list(self._wanted.difference(self._known))
        self._known.update(zip(texts, self._tokenizer.many(texts, opening=False), strict=True))
        openings = list(self._openings)
        self._openings = dict(zip(openings, self._tokenizer.many(openings, opening=True), strict=True))
        return self

    def lines(self) -> Iterable[Line]:
        """The examples' tokens."""
        return (line_of(draft, self) for draft in self._drafts)

    def ids(self, text: str) -> Tokens:
        """As ``Reader.ids``."""
        if text not in self._ids:
            self._ids[text] = joined(map(self._known.__getitem__, self._parts[text]))
        return self._ids[text]

    def opening(self, text: str) -> Tokens:
        """As ``Reader.opening``."""
        return self._openings[text]

    def between(self, text: str, bounds: tuple[int, ...]) -> tuple[Tokens, list[int]]:
        """As ``Reader.between``. Up to the stretch that a cut lies in, the tokens are the same with and without it."""
        found = self._whole[text, bounds]
        if found is None:
            return self._tokenizer.one_by_one.between(text, bounds)
        pieces = list(map(self._known.__getitem__, found.parts))
        begins = list(itertools.accumulate(map(len, pieces), initial=0))
        cuts: list[int] = []
        for index, head in found.cuts:
            own = self._known[head]
            if pieces[index][: len(own)] != own:
                return self._tokenizer.one_by_one.between(text, bounds)
            cuts.append(begins[index] + len(own))
        return joined(pieces), cuts


def _stretches(parts: list[str], bounds: Sequence[int]) -> _Stretches | None:
    """None where a text is to be cut inside one of the tokenizer's signs."""
    cuts: list[tuple[int, str]] = []
    ends = list(itertools.accumulate(map(len, parts)))
    for bound in bounds:
        index = bisect.bisect_left(ends, bound)
        part = parts[index]
        head = part[: len(part) + bound - ends[index]]
        if index % 2 and head not in ("", part):
            return None
        cuts.append((index, head))
    return _Stretches(parts, cuts)
