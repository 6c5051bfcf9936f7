"""Which texts of an example may change: what the user says, apart from the task's own words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from string import Formatter

from fairtune.data.examples import Example, Role, make_example


@dataclass(frozen=True)
class Instruction:
    """The task's own words, which are the same in every example and never change.

    Attributes:
        template: what stands around its fields.
        constants: what a field holds in every example: the list of labels.
    """

    template: str | None = None
    constants: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Editor:
    """Takes an example apart and puts it together again.

    Attributes:
        answers: whether the assistant's turns change too. System messages never do.
    """

    instruction: Instruction = Instruction()
    answers: bool = False

    def texts(self, example: Example) -> list[str]:
        """The texts that may change, in order."""
        return [text for index, _ in enumerate(example.messages) for text in self.parts(example, index)[1::2]]

    def parts(self, example: Example, index: int) -> list[str]:
        """A message cut up: fixed, free, fixed, free, …, fixed."""
        message = example.messages[index]
        if message.role not in self._roles:
            return [message.content]
        template = self.instruction.template if message.role == "user" else None
        found = _pattern(template).fullmatch(message.content) if template else None
        if found is None:
            return ["", message.content, ""]
        parts = list(found.groups())
        for place in range(1, len(parts), 2):
            if parts[place] in self.instruction.constants:
                parts[place - 1 : place + 1] = [parts[place - 1] + parts[place], ""]
        return parts

    def rewritten(self, example: Example, texts: Sequence[str], origin: str) -> Example:
        """The example with other texts, in the order of :meth:`texts`; named by its new content."""
        left = iter(texts)
        messages = tuple(
            replace(message, content=_joined(self.parts(example, index), left))
            for index, message in enumerate(example.messages)
        )
        return replace(make_example(messages, example.task_system), where=example.where, origin=origin)

    @property
    def _roles(self) -> set[Role]:
        return {"user", "assistant"} if self.answers else {"user"}


def _joined(parts: list[str], left: Iterator[str]) -> str:
    return "".join(next(left) if index % 2 else part for index, part in enumerate(parts))


def _pattern(template: str) -> re.Pattern[str]:
    """Matches a message that the template wrote; its groups are fixed, free, …, fixed.

    Where a field's text holds the words that follow it, the shortest reading is taken.
    """
    expression = "("
    for text, field, _, _ in Formatter().parse(template):
        expression += re.escape(text) + ("" if field is None else ")(.*?)(")
    return re.compile(expression + ")", re.DOTALL)
