"""A text as words and the white space between them, so that nothing but the words meant to change does."""

from __future__ import annotations

import re
from dataclasses import dataclass

_WORD = re.compile(r"\S+")
_AROUND = re.compile(r"(\W*)(.*?)(\W*)", re.DOTALL)


@dataclass(frozen=True)
class Words:
    """``gaps[0] words[0] gaps[1] … words[-1] gaps[-1]``: one gap more than words. A word is what has no space in it."""

    words: tuple[str, ...]
    gaps: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> Words:
        """A text, taken apart."""
        return cls(tuple(_WORD.findall(text)), tuple(_WORD.split(text)))

    def __str__(self) -> str:
        return self.gaps[0] + "".join(word + gap for word, gap in zip(self.words, self.gaps[1:], strict=True))

    def with_words(self, changed: dict[int, str]) -> Words:
        """Other words at these positions."""
        return Words(tuple(changed.get(index, word) for index, word in enumerate(self.words)), self.gaps)

    def with_inserted(self, position: int, word: str) -> Words:
        """The word before the one at this position, or behind them all; a space between them."""
        gap = min(position + 1, len(self.words))
        return Words((*self.words[:position], word, *self.words[position:]), (*self.gaps[:gap], " ", *self.gaps[gap:]))

    def only(self, kept: list[int]) -> Words:
        """Only the words at these positions, in order; at least one."""
        inner = [self.gaps[index] for index in kept[1:]]
        return Words(tuple(self.words[index] for index in kept), (self.gaps[0], *inner, self.gaps[-1]))


def bare(word: str) -> tuple[str, str, str]:
    """Punctuation before a word, the word alone, punctuation behind it."""
    found = _AROUND.fullmatch(word)
    return (found[1], found[2], found[3]) if found else ("", word, "")
