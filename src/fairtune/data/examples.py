"""An example: what the model is asked, and what it should answer."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from dataclasses import dataclass, field
from typing import Literal

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True)
class Checks:
    """What makes a program of an answer that is code: the text before it, and the tests behind it."""

    before: str
    after: str

    def program(self, code: str) -> str:
        """The whole program, which passes if it reaches its end."""
        return "\n\n".join(part for part in (self.before, code, self.after) if part) + "\n"

    @property
    def digest(self) -> str:
        """Stands for both texts."""
        return digest(json.dumps([self.before, self.after]))


@dataclass(frozen=True)
class Example:
    """A conversation whose last turn is the answer, or a document of plain text: an answer alone.

    ``id`` is made from the content, so it is the same in every file, order and machine.
    """

    id: str
    messages: tuple[Message, ...]
    task_system: bool = False
    """The first message is the task's instruction, the same for every row, rather than the row's own."""
    where: str = field(default="", compare=False)
    """File and line, for people."""
    group: str | None = field(default=None, compare=False)
    """Examples of one group stand on one side of a split."""
    origin: str = field(default="", compare=False)
    """Of an example that was made from another: how, and from which (``eda of 0f3c…``)."""
    checks: Checks | None = None
    """The tests of an answer that is a program. No part of the id, which names what is asked and answered."""
    choices: tuple[str, ...] = ()
    """What the answer is chosen from, where the row itself says it; no part of the id either."""

    @property
    def prompt(self) -> tuple[Message, ...]:
        """Everything before the answer."""
        return self.messages[:-1]

    @property
    def answer(self) -> str:
        """The reference answer."""
        return self.messages[-1].content

    @property
    def is_text(self) -> bool:
        """A document of plain text: nothing is asked, and every token is predicted."""
        return len(self.messages) == 1

    @property
    def question(self) -> str:
        """The last thing the user said: what makes the item, apart from instructions all items share."""
        return next((m.content for m in reversed(self.prompt) if m.role == "user"), "")


def make_example(messages: tuple[Message, ...], task_system: bool = False) -> Example:
    """An example named by the hash of its messages."""
    text = json.dumps([[message.role, message.content] for message in messages], ensure_ascii=False)
    return Example(digest(text), messages, task_system)


def digest(text: str) -> str:
    """Twelve hex digits of the text's SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def folded(text: str) -> str:
    """Text without its differences of case, white space and Unicode form (NFKC)."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def leak_key(example: Example) -> str:
    """Two examples with the same key ask the same thing: every turn before the answer, folded.

    The task's instruction, which all rows share, does not count; a row's own system message does. A document of plain
    text asks nothing, and is known by itself.
    """
    return "\n".join(folded(text) for text in asked(example))


def asked(example: Example) -> list[str]:
    """What makes the item: every turn before the answer but the task's own instruction; a document's text."""
    if example.is_text:
        return [example.answer]
    own = example.prompt[1:] if example.task_system else example.prompt
    return [message.content for message in own]
