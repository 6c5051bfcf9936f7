"""What a chat template writes around the texts it is given, learned by rendering a conversation of known words."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from fairtune.data.encode import Tokenizer
from fairtune.data.template import FIXED

_WORDS = ("ZQFIRSTQZ", "ZQSECONDQZ", "ZQTHIRDQZ", "ZQFOURTHQZ")
# Signs that no sentence has, so that a mark with one of them is no accident.
_SIGNS = re.compile(r"[<>\[\]{}|#]")
# "###" begins a heading, ">" a quotation.
_SHORTEST = 4


@dataclass(frozen=True)
class Marks:
    """What stands before a question and before an answer, after the last answer, and before the first message.

    ``added``: words that the template puts there by itself, as a system message of its own; empty if none.
    """

    user: str
    assistant: str
    tail: str
    added: str = ""

    @property
    def telling(self) -> tuple[str, ...]:
        """The marks that no ordinary sentence has."""
        return tuple(mark for mark in (self.user, self.assistant) if is_telling(mark))

    def stand_in(self, text: str) -> bool:
        """Whether the text was written by this template, or by one like it."""
        if self.telling:
            return any(mark in text for mark in self.telling)
        # One mark alone may be a word of the question; where both are the same, that is one.
        two = {self.user, self.assistant} - {""}
        return len(two) == 2 and all(mark in text for mark in two)


def is_telling(mark: str) -> bool:
    """Whether no ordinary sentence has it."""
    return len(mark) >= _SHORTEST and _SIGNS.search(mark) is not None


def read_marks(tokenizer: Tokenizer) -> Marks | None:
    """The marks of a tokenizer's chat template; None without one, or if it cannot be read so."""
    if not tokenizer.chat_template:
        return None
    text = render(tokenizer, ["user", "assistant", "user", "assistant"])
    parts = re.split("|".join(_WORDS), text or "")
    if len(parts) != len(_WORDS) + 1:
        return None
    head, asked, between, _, tail = parts
    end = _common_start(between, tail)
    opened = between[len(end) :]
    answer = asked[len(_common_start(asked, end)) :]
    marks = [_bare(mark, tokenizer) for mark in (opened, answer)]
    return Marks(marks[0], marks[1], tail, _added(head.removesuffix(opened), tokenizer))


def render(tokenizer: Tokenizer, roles: Sequence[str]) -> str | None:
    """A conversation of one known word a turn; None where the template refuses it."""
    turns = [{"role": role, "content": word_of(index)} for index, role in enumerate(roles)]
    try:
        return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=False, **FIXED))
    except Exception:  # noqa: BLE001 - a template is a program of the model's, and may refuse what no row asks
        return None


def word_of(turn: int) -> str:
    """The known word of a turn."""
    return _WORDS[turn] if turn < len(_WORDS) else f"ZQ{turn}QZ"


def special_texts(tokenizer: Tokenizer) -> frozenset[str]:
    """Every special token as text."""
    added = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    return frozenset(text for text in added | set(tokenizer.all_special_tokens) if text)


def _common_start(one: str, other: str) -> str:
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    return "".join(sign for sign, _ in same)


def _bare(mark: str, tokenizer: Tokenizer) -> str:
    """Without white space, and without a begin token where the rest still tells."""
    bare = mark.strip().removeprefix(tokenizer.bos_token or "").strip()
    return bare if is_telling(bare) else mark.strip()


def _added(head: str, tokenizer: Tokenizer) -> str:
    """Words before the first question, as some templates write a system message where a row has none."""
    for text in special_texts(tokenizer):
        head = head.replace(text, " ")
    words = " ".join(head.split()).removeprefix("system ")
    return words if len(words.split()) > 2 else ""
