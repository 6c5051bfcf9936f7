"""Kinds that leave out tokens of a prompt, applied to encoded examples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from random import Random
from typing import Any

from fairtune.data.augment.editor import Editor
from fairtune.data.augment.protocol import Augmentation, Drop, Options
from fairtune.data.augment.variants import Added, fill, quota
from fairtune.data.encode import Encoded
from fairtune.data.examples import Example, digest, folded


@dataclass(frozen=True)
class _Item:
    encoded: Encoded
    positions: tuple[int, ...]
    """Tokens that may go."""


def add_encoded(
    kind: Augmentation,
    examples: Sequence[Example],
    encoded: Sequence[Encoded],
    options: Options,
    seed: int,
    tokenizer: Any,
    held_out: Iterable[Encoded] = (),
    template: str | None = None,
) -> Added[Encoded]:
    """Copies of encoded examples with fewer tokens in their prompts, to be added to them.

    Args:
        kind: one that works on tokens.
        encoded: the examples as tokens, in the same order, uncut.
        held_out: validation and test, whose prompts no copy may have.
        template: the task's, whose own words never go.
    """
    if kind.tokens is None:
        raise TypeError(f"{kind.name} does not work on tokens")
    editor = Editor(template)
    counts = quota([item.id for item in encoded], options.ratio, seed)
    items = {
        item.id: _Item(item, _positions(example, item, tokenizer, editor) if item.id in counts else ())
        for example, item in zip(examples, encoded, strict=True)
    }

    def asks(item: _Item) -> str:
        return _asks(item.encoded, tokenizer)

    found = fill(items, counts, seed, _drafter(kind.tokens(options)), asks, {_asks(it, tokenizer) for it in held_out})
    return Added(tuple(item.encoded for item in found.items), found.not_made, found.held_out)


def _asks(item: Encoded, tokenizer: Any) -> str:
    """The prompt as text, folded. The template's words are the same in all of them."""
    return folded(tokenizer.decode(list(item.prompt), skip_special_tokens=True))


def _drafter(drop: Drop) -> Callable[[_Item, Random], _Item]:
    def draft(item: _Item, draw: Random) -> _Item:
        return replace(item, encoded=_without(item.encoded, drop(item.positions, draw)))

    return draft


def _without(item: Encoded, gone: frozenset[int]) -> Encoded:
    kept = [index for index in range(len(item.tokens)) if index not in gone]
    tokens = tuple(item.tokens[index] for index in kept)
    seen = digest(" ".join(map(str, tokens)))
    return replace(
        item,
        id=f"{item.id}-{seen}",
        tokens=tokens,
        supervised=tuple(item.supervised[index] for index in kept),
        prompt_length=item.prompt_length - sum(index < item.prompt_length for index in gone),
        prompt_hash=seen,
    )


def _positions(example: Example, item: Encoded, tokenizer: Any, editor: Editor) -> tuple[int, ...]:
    """Where the user's own words stand in the prompt.

    Messages are sought one after another, as the tokens that each is by itself. Where a word has become one token with
    the template's, the longest stretch that has not is taken.
    """
    special = set(tokenizer.all_special_ids)
    found: list[int] = []
    start = 0
    for index in range(len(example.messages) - 1):
        for place, part in enumerate(editor.parts(example, index)):
            sought = tokenizer(part, add_special_tokens=False)["input_ids"] if part.strip() else []
            begin, length = _stretch(sought, item.prompt, start)
            start = begin + length
            found += range(begin, start) if place % 2 else []
    return tuple(at for at in found if item.tokens[at] not in special and not item.supervised[at])


def _stretch(sought: Sequence[int], tokens: Sequence[int], start: int) -> tuple[int, int]:
    """Where the sought tokens, or the longest part of them, stand from ``start`` on, and how many they are."""
    whole = tuple(sought)
    for begin in range(start, len(tokens) - len(whole) + 1):
        if tuple(tokens[begin : begin + len(whole)]) == whole:
            return begin, len(whole)
    longest = SequenceMatcher(None, sought, tokens, autojunk=False).find_longest_match(0, len(sought), start)
    return (longest.b, longest.size) if longest.size else (start, 0)
