"""How many words and bytes of a document lie in each of its windows."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from fairtune.data.encode import in_pieces
from fairtune.data.examples import Example
from fairtune.data.windows import Windows

_SPACE = re.compile(r"\s+")


def text_sizes(cut: Windows, documents: Iterable[Example], tokenizer: Any) -> list[tuple[int, int]]:
    """Words and UTF-8 bytes of the text that each window predicts.

    A document's text, from its second token on, is divided among its windows without a gap, at the characters where
    tokens begin; a word counts where it ends. So the sums over a document are ``len(re.split(r"\\s+", text))`` words,
    unless it begins with white space, and all bytes but those of its first token.

    Args:
        cut: windows of all these documents, in their order.
        documents: as they were tokenised.
        tokenizer: one that does not say where tokens begin has its windows decoded and counted one by one: a letter
            that is cut in two then counts as two.
    """
    rows: dict[int, list[int]] = {}
    for index in range(len(cut)):
        rows.setdefault(cut.scored(index)[0], []).append(index)
    sizes = [(0, 0)] * len(cut)
    for row, document in enumerate(in_pieces(documents)):
        own = rows.get(row, [])
        firsts = [cut.scored(index)[1] for index in own]
        if not own:
            continue
        begins = _begins(document.answer, cut.document_tokens(row), tokenizer)
        divided = _decoded(cut, own) if begins is None else (document.answer, begins[firsts])
        for index, size in zip(own, _counted(*divided), strict=True):
            sizes[index] = size
    return sizes


def _begins(text: str, tokens: Sequence[int], tokenizer: Any) -> Any:
    """The character where each token begins, ``(tokens,)``; None where the tokenizer does not say."""
    if not tokenizer.is_fast:
        return None
    found = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    if list(found["input_ids"]) != list(tokens):
        return None
    # A letter of several tokens begins once for each; nothing begins before what stands before it.
    return np.maximum.accumulate([start for start, _ in found["offset_mapping"]])


def _decoded(cut: Windows, own: Sequence[int]) -> tuple[str, Any]:
    """What the windows predict as text, end to end, and where each begins in it."""
    texts = [cut.at(index).reference for index in own]
    return "".join(texts), np.cumsum([0, *map(len, texts[:-1])])


def _counted(text: str, begins: Any) -> Iterator[tuple[int, int]]:
    """Words and bytes of every part of a text; the last ends with it."""
    spaces = np.array([found.start() for found in _SPACE.finditer(text)], dtype=np.int64)
    for number, (begin, end) in enumerate(itertools.pairwise([*begins, len(text)]), 1):
        words = int(np.searchsorted(spaces, end) - np.searchsorted(spaces, begin)) + (number == len(begins))
        yield words, len(text[begin:end].encode())
