"""Every error fairtune raises on purpose.

FairtuneError            something the user can put right; the command line exits with 2
├── SpecError            the study or task file: one or more problems, each with its path
├── DataError            rows that cannot be used: file, line, what was found, what was expected
├── ModelError           weights that are missing, unsafe or cannot be read
├── BudgetError          memory, disk or time that cannot be had
├── RecordError          a run folder that cannot be read, or is held by another process
│   └── RecordVersionError   the record is whole, and of another version
└── DivergedError        training left the finite numbers
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


class FairtuneError(Exception):
    """Base of every error that is the request's fault rather than a bug."""


@dataclass(frozen=True)
class Problem:
    """One thing wrong in a study: ``path`` as in ``methods[2].lora.rank``, and what to do about it."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class SpecError(FairtuneError):
    """A study or task file with problems; all of them at once."""

    def __init__(self, problems: Iterable[Problem] | str, where: str = "") -> None:
        self.problems = (Problem("", problems),) if isinstance(problems, str) else tuple(problems)
        self.where = where
        super().__init__(self._text())

    def _text(self) -> str:
        lines = [str(problem) for problem in self.problems]
        if not self.where:
            return "\n".join(lines)
        if len(lines) == 1:
            return f"{self.where}: {lines[0]}"
        return "\n".join([f"{self.where}: {len(lines)} problems", *(f"  {line}" for line in lines)])


class DataError(FairtuneError):
    """Data that cannot be trained or scored on."""


class ModelError(FairtuneError):
    """A model that cannot be had, read or trusted."""


class BudgetError(FairtuneError):
    """A resource that cannot be had."""


class RecordError(FairtuneError):
    """A run folder that cannot be read, or is in use."""


class RecordVersionError(RecordError):
    """A record that another fairtune wrote: whole, but not for this one to read or repeat."""


class DivergedError(FairtuneError):
    """A loss or gradient that is not finite."""


def suggest(word: str, allowed: Iterable[str]) -> str:
    """``"did you mean 'rank'? allowed: alpha, rank"`` for a word that is not allowed."""
    names = sorted(allowed)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    hint = f"did you mean '{near[0]}'? " if near else ""
    return f"{hint}allowed: {', '.join(names) if names else 'nothing'}"
