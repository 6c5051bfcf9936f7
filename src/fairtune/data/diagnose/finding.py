"""What detectors look at, and what they say."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from fairtune.data.diagnose.marks import Marks, read_marks, special_texts
from fairtune.data.encode import Encoded, Tokenizer
from fairtune.data.examples import Example
from fairtune.data.visible import special_ids

Severity = Literal["error", "warning", "note"]
# From this share on, a fault is the file's and not a few rows'.
MANY = 0.01


@dataclass(frozen=True)
class Material:
    """One part of a task as its model reads it. ``encoded`` is uncut, and in the order of ``examples``."""

    examples: Sequence[Example]
    encoded: Sequence[Encoded]
    tokenizer: Tokenizer
    max_length: int | None = None
    """Tokens that training keeps of an example; None where it cuts nothing."""
    context: int | None = None
    """Tokens that the model reads at once; None if it states no limit."""
    model: str = ""
    """What tables call the model."""

    @functools.cached_property
    def marks(self) -> Marks | None:
        """What the chat template writes around texts; None without one."""
        return read_marks(self.tokenizer)

    @functools.cached_property
    def specials(self) -> frozenset[str]:
        """The special tokens as text."""
        return special_texts(self.tokenizer)

    @functools.cached_property
    def special_ids(self) -> frozenset[int]:
        """The special tokens as numbers."""
        return special_ids(self.tokenizer)

    @functools.cached_property
    def asked(self) -> list[tuple[Example, Encoded]]:
        """The examples that have a prompt."""
        pairs = zip(self.examples, self.encoded, strict=True)
        return [(example, item) for example, item in pairs if not example.is_text]

    @functools.cached_property
    def documents(self) -> list[Example]:
        """The examples that are plain text."""
        return [example for example in self.examples if example.is_text]


@dataclass(frozen=True)
class Fault:
    """What one detector found: how bad, in which examples, and a text on what is wrong and what to do."""

    severity: Severity
    ids: tuple[str, ...]
    text: str


Detector = Callable[[Material], "Fault | None"]


@dataclass(frozen=True)
class Finding:
    """A fault under its name. ``share``: of the part's examples. ``ids``: the first of them."""

    name: str
    severity: Severity
    count: int
    share: float
    ids: tuple[str, ...]
    text: str


def fault(severity: Severity, ids: Iterable[str], text: str) -> Fault | None:
    """A fault of these examples; None where there are none."""
    named = tuple(ids)
    return Fault(severity, named, text) if named else None


def by_share(count: int, total: int) -> Severity:
    """An error where it is the file's fault, a warning where a few rows have it."""
    return "error" if count >= MANY * total else "warning"
