"""Where a text may be cut before it is tokenised, with the same tokens as if it had not been."""

from __future__ import annotations

import json
import re
from typing import Any

# Each looks at a stretch between two added tokens and at nothing else, so a stretch alone gives the same tokens.
# (Metaspace with prepend_scheme "first" does not: it treats the beginning of the text in a way of its own.)
_LOCAL = {
    "BertPreTokenizer",
    "ByteLevel",
    "CharDelimiterSplit",
    "Digits",
    "Metaspace",
    "Punctuation",
    "Split",
    "Whitespace",
    "WhitespaceSplit",
}


class Splitter:
    """Cuts a text at the tokenizer's added tokens, which it looks for before it does anything else.

    The tokens of the text are then those of its stretches, one after the other. A tokenizer for which this is not sure
    is given every text whole.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.signs: dict[str, int] = _signs(tokenizer)
        # The longest of those that begin first, as the tokenizer takes them.
        longest_first = sorted(self.signs, key=len, reverse=True)
        self._pattern = re.compile(f"({'|'.join(map(re.escape, longest_first))})") if self.signs else None

    def cut(self, text: str) -> list[str]:
        """Stretch, sign, stretch, sign, …, stretch; stretches may be empty."""
        return self._pattern.split(text) if self._pattern else [text]


def _signs(tokenizer: Any) -> dict[str, int]:
    """Added tokens that texts are cut at; none where cutting might change a token."""
    if not tokenizer.is_fast or tokenizer.split_special_tokens:
        return {}
    backend = tokenizer.backend_tokenizer
    described = json.loads(backend.pre_tokenizer.__getstate__()) if backend.pre_tokenizer else None
    added = [token for token in tokenizer.added_tokens_decoder.items() if not token[1].normalized]
    bound = any(token.lstrip or token.rstrip or token.single_word or not token.content for _, token in added)
    dropout = getattr(backend.model, "dropout", None)
    if bound or dropout or not _is_local(described):
        return {}
    return {token.content: number for number, token in added}


def _is_local(described: Any) -> bool:
    if described is None:
        return True
    if described["type"] == "Sequence":
        return all(_is_local(part) for part in described["pretokenizers"])
    return described["type"] in _LOCAL and described.get("prepend_scheme") != "first"
