"""Texts of many requests as tokens: the same as one at a time, at a fraction of the time.

Requests of a benchmark repeat themselves: the few-shot header stands in every context of a subject, a context once
for each of its choices. Where a tokenizer is known to work word by word, texts are cut at places that are a word's end
whatever stands around them, and each different piece is tokenised once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from fairtune.data.tokens.splitter import Splitter

# A letter or digit before a line end, and anything but white space before a single space and a letter: the known
# patterns of byte-level tokenizers end a word there, whatever follows or comes before. Not so after punctuation, which
# some join with the line ends that follow, and not so between several spaces.
_END = re.compile(r"(?<=[A-Za-z0-9])(?=\n)")
_WORD = re.compile(r" [A-Za-z]")
# The patterns of GPT-2 (also built into ByteLevel), and of Llama 3, Qwen and their like.
_PATTERNS = (
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    *(
        rf"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{digits}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        for digits in (r"\p{N}{1,3}", r"\p{N}")
    ),
)
_TOGETHER = 2048


class Encoder:
    """A tokenizer for many texts.

    Args:
        add_bos: whether tokens are put around a text; None for what the tokenizer does by itself.
    """

    def __init__(self, tokenizer: Any, add_bos: bool | None = None) -> None:
        self.tokenizer = tokenizer
        self._add_bos = add_bos
        self.by_words = _works_by_words(tokenizer) and not self._around(add_bos)[1]
        """Whether texts may be cut into pieces."""

    def encode(self, texts: Sequence[str], special: Sequence[bool | None] | None = None) -> list[tuple[int, ...]]:
        """The tokens of every text.

        Args:
            special: for each, whether tokens are put around it; None for the encoder's own way.
        """
        special = [None] * len(texts) if special is None else special
        wanted = dict.fromkeys(zip(texts, map(self._decided, special), strict=True))
        known: dict[tuple[str, bool | None], tuple[int, ...]] = {}
        for way in dict.fromkeys(way for _, way in wanted):
            mine = [text for text, own in wanted if own == way]
            known.update(zip(((text, way) for text in mine), self._tokens(mine, way), strict=True))
        return [known[text, self._decided(way)] for text, way in zip(texts, special, strict=True)]

    def splits_before(self, context: str, continuation: str) -> bool:
        """Whether the tokens of the whole are those of the context and those of the continuation, whatever they are."""
        return bool(self.by_words and context and not context[-1].isspace() and _WORD.match(continuation))

    def _decided(self, special: bool | None) -> bool | None:
        return self._add_bos if special is None else special

    def _tokens(self, texts: Sequence[str], special: bool | None) -> Iterator[tuple[int, ...]]:
        if not self.by_words:
            yield from self._plain(texts, special)
            return
        first, last = self._around(special)
        cut = [_END.split(text) for text in texts]
        pieces = dict.fromkeys(piece for parts in cut for piece in parts)
        tokens = dict(zip(pieces, self._plain(list(pieces), False), strict=True))
        for parts in cut:
            yield (*first, *(token for piece in parts for token in tokens[piece]), *last)

    def _around(self, special: bool | None) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """What is put before and after a text."""
        (inner,), (whole,) = self._plain(["a"], False), self._plain(["a"], special)
        start = next(at for at in range(len(whole)) if whole[at : at + len(inner)] == inner)
        return whole[:start], whole[start + len(inner) :]

    def _plain(self, texts: Sequence[str], special: bool | None) -> list[tuple[int, ...]]:
        """The tokenizer's own answer, many texts at a time."""
        options = {} if special is None else {"add_special_tokens": special}
        found: list[tuple[int, ...]] = []
        for batch in _batches(texts):
            ids = self.tokenizer(batch, return_attention_mask=False, verbose=False, **options)["input_ids"]
            found += map(tuple, ids)
        return found


def _batches(texts: Sequence[str]) -> Iterable[list[str]]:
    return (list(texts[at : at + _TOGETHER]) for at in range(0, len(texts), _TOGETHER))


def _works_by_words(tokenizer: Any) -> bool:
    """Whether it is one of those whose words are known to end where texts are cut here."""
    if not getattr(tokenizer, "is_fast", False):
        return False
    backend = tokenizer.backend_tokenizer
    described = json.loads(backend.to_str())
    normalizer = (described["normalizer"] or {"type": "NFC"})["type"]
    model = described["model"]
    if model["type"] != "BPE" or model.get("dropout") or normalizer != "NFC" or backend.pre_tokenizer is None:
        return False
    if described["added_tokens"] and not Splitter(tokenizer).signs:
        return False  # one of them looks at what stands around it
    if any(re.search(r"\s", token["content"]) or token["normalized"] for token in described["added_tokens"]):
        return False
    return _ends_words(described["pre_tokenizer"])


def _ends_words(described: Any) -> bool:
    """Whether one of the steps is a known pattern, and no step looks at a text's beginning in a way of its own."""
    parts = described["pretokenizers"] if described["type"] == "Sequence" else [described]
    if any(part["type"] not in {"ByteLevel", "Split", "Digits"} or part.get("add_prefix_space") for part in parts):
        return False
    return any(_is_known(part) for part in parts)


def _is_known(part: Any) -> bool:
    if part["type"] == "ByteLevel":
        return bool(part["use_regex"])
    pattern = part.get("pattern", {}).get("Regex")
    return part["type"] == "Split" and part["behavior"] == "Isolated" and not part["invert"] and pattern in _PATTERNS
