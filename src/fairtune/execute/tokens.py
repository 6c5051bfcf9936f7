"""A part of a task as tokens of one tokenizer, in the user's cache: tokenised by the first that asks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fairtune.cache import cache_lock
from fairtune.data.examples import Example
from fairtune.data.tokens.cache import store_table, stored_table
from fairtune.data.tokens.key import Content, content_of, token_key, tokenizer_key
from fairtune.data.tokens.table import TokenTable
from fairtune.models import cache_folder


@dataclass(frozen=True)
class Stored:
    """A table, the file it lies in, and what was seen of its examples. ``made``: it was not there before."""

    table: TokenTable
    path: Path
    content: Content
    made: bool


class TokenStore:
    """The cache, for one tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._key = tokenizer_key(tokenizer)

    def get(self, examples: Iterable[Example]) -> Stored:
        """The examples' tokens.

        Args:
            examples: gone through in order, once or twice.

        Raises:
            DataError: the chat template cannot be applied so that answers can be told from prompts.
            BudgetError: the cache cannot be written.
        """
        content = content_of(examples)
        path = cache_folder() / "tokens" / f"{token_key(content, self._key)}.arrow"
        with cache_lock(path):
            found = stored_table(path)
            table = store_table(path, examples, self._tokenizer) if found is None else found
        return Stored(table, path, content, found is None)
