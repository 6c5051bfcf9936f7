"""Kinds that leave out tokens of a prompt, applied to encoded examples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from random import Random
from typing import Any

from fairtune.data.augment.editor import Editor, Instruction
from fairtune.data.augment.protocol import Augmentation, Drop, Options
from fairtune.data.augment.variants import Added, fill, quota
from fairtune.data.encode import Encoded
from fairtune.data.examples import Example, digest, folded

_NO_INSTRUCTION = Instruction()


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
    instruction: Instruction = _NO_INSTRUCTION,
) -> Added[Encoded]:
    """Copies of encoded examples with fewer tokens in their prompts, to be added to them.

    Args:
        kind: one that works on tokens.
        encoded: the examples as tokens, in the same order, uncut.
        held_out: validation and test, whose prompts no copy may have.
        instruction: the task's own words, which never go.
    """
    if kind.tokens is None:
        raise TypeError(f"{kind.name} does not work on tokens")
    editor = Editor(instruction)
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

    Texts are sought as the tokens that each is by itself, the last one first: a template may begin with a system
    message of its own, and that with the user's words. Where a word has become one token with the template's, the
    longest stretch that has not is taken.
    """
    special = set(tokenizer.all_special_ids)
    found: list[int] = []
    end = item.prompt_length
    for index in range(len(example.messages) - 2, -1, -1):
        for place, part in reversed(list(enumerate(editor.parts(example, index)))):
            sought = tokenizer(part, add_special_tokens=False)["input_ids"] if part.strip() else []
            begin, length = _last_stretch(tuple(sought), item.tokens, end)
            found += range(begin, begin + length) if place % 2 else []
            end = begin
    return tuple(at for at in sorted(found) if item.tokens[at] not in special and not item.supervised[at])


def _last_stretch(sought: tuple[int, ...], tokens: tuple[int, ...], end: int) -> tuple[int, int]:
    """Where the sought tokens, or the longest part of them, stand before ``end``, and how many they are."""
    if not sought:
        return end, 0
    for begin in range(end - len(sought), -1, -1):
        if tokens[begin : begin + len(sought)] == sought:
            return begin, len(sought)
    longest = SequenceMatcher(None, sought, tokens, autojunk=False).find_longest_match(0, len(sought), 0, end)
    return (longest.b, longest.size) if longest.size else (end, 0)
