"""How far a command is, on standard error."""

from __future__ import annotations

import time
from typing import TypeVar

from rich.console import Console
from rich.text import Text

_EVERY_SECONDS = 10.0
Line = TypeVar("Line", bound="MovingLine")


class MovingLine:
    """A line that moves on a terminal; elsewhere a line now and then."""

    def __init__(self, console: Console) -> None:
        self._console, self._status = console, console.status("") if console.is_terminal else None
        self._told, self._shown = time.monotonic(), ""

    def __enter__(self: Line) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        if self._status:
            self._status.stop()

    def say(self, text: str) -> None:
        """A line that stays."""
        self._console.print(Text(text), soft_wrap=True)

    def show(self, line: str) -> None:
        """What is going on now."""
        now = time.monotonic()
        if self._status:
            self._status.start()
            self._status.update(Text(line))
        elif line != self._shown and now - self._told >= _EVERY_SECONDS:
            self._told, self._shown = now, line
            self.say(line)
