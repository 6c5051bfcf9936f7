"""A name for the tokens of some examples: another one whenever anything changes that could change a token."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from fairtune.data.encode import LARGEST_DOCUMENT
from fairtune.data.examples import Example, Role
from fairtune.data.template import FIXED

# Of the code that makes tokens. Raised when the same examples give other ones.
VERSION = 1


@dataclass(frozen=True)
class Content:
    """What one look at the examples tells: their hash, their number, their characters, and how many have which turns.

    ``turns``: roles in order, and how many examples have them.
    """

    key: str
    examples: int
    characters: int
    turns: Counter[tuple[Role, ...]]


def content_of(examples: Iterable[Example]) -> Content:
    """Reads the examples once, in order."""
    running = hashlib.sha256()
    turns: Counter[tuple[Role, ...]] = Counter()
    characters = 0
    for example in examples:
        roles = tuple([message.role for message in example.messages])
        texts = [message.content for message in example.messages]
        lengths = list(map(len, texts))
        running.update(f"{(example.id, roles, lengths)!r}{''.join(texts)}".encode())
        turns[roles] += 1
        characters += sum(lengths)
    return Content(running.hexdigest(), turns.total(), characters, turns)


def tokenizer_key(tokenizer: Any) -> str:
    """Stands for a tokenizer: its files' content, its special tokens, its chat template, and the code that runs it."""
    import tokenizers
    import transformers

    described = {
        "versions": [VERSION, transformers.__version__, tokenizers.__version__],
        "class": f"{type(tokenizer).__module__}.{type(tokenizer).__qualname__}",
        "content": _content(tokenizer),
        "special": {name: str(token) for name, token in sorted(tokenizer.special_tokens_map.items())},
        "added": [[token, repr(content)] for token, content in sorted(tokenizer.added_tokens_decoder.items())],
        "template": tokenizer.chat_template,
        "options": [FIXED, LARGEST_DOCUMENT, bool(getattr(tokenizer, "split_special_tokens", False))],
    }
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def _content(tokenizer: Any) -> str:
    """The whole of a fast tokenizer, as its file would hold it; vocabulary and settings of another."""
    if not tokenizer.is_fast:
        return json.dumps([sorted(tokenizer.get_vocab().items()), tokenizer.init_kwargs], sort_keys=True, default=str)
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()  # these two stand for the last call, and every call sets them anew
    backend.no_padding()
    return str(backend.to_str())


def token_key(content: Content, tokenizer: str) -> str:
    """The name of the examples' tokens.

    Args:
        tokenizer: its ``tokenizer_key``.
    """
    return hashlib.sha256(f"{content.key} {tokenizer}".encode()).hexdigest()[:32]
