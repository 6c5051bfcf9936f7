"""Where a run is now: a small file beside its results, replaced a few times a second, gone when it ends."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from fairtune.records import Phase

_EVERY_SECONDS = 0.25


@dataclass(frozen=True)
class Progress:
    """Phase, and how far it is. ``steps`` are updates in training and items elsewhere."""

    pid: int
    phase: Phase | None = None
    device: str | None = None
    step: int = 0
    steps: int | None = None
    loss: float | None = None
    tokens_per_second: float | None = None
    seconds_left: float | None = None


class ProgressFile:
    """What a worker says of itself."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic, every: float = _EVERY_SECONDS) -> None:
        self._path = path
        self._clock = clock
        self._every = every
        self._written = -every
        self._phase_started = clock()
        self._first = 0
        self._now = Progress(os.getpid())

    def enter(self, phase: Phase, device: str, steps: int | None = None) -> None:
        """A new phase begins."""
        self._phase_started, self._first = self._clock(), 0
        self._now = Progress(self._now.pid, phase, device, steps=steps)
        self._write()

    def begin_at(self, step: int) -> None:
        """So many steps were done by an earlier process; they say nothing of the time that is left."""
        self._phase_started, self._first = self._clock(), step

    def advance(self, step: int, loss: float | None = None, tokens_per_second: float | None = None) -> None:
        """``step`` of the phase's steps are done; written at most every quarter of a second, or as asked."""
        spent = self._clock() - self._phase_started
        steps = self._now.steps
        made = step - self._first
        left = spent / made * (steps - step) if steps and made else None
        self._now = replace(self._now, step=step, loss=loss, tokens_per_second=tokens_per_second, seconds_left=left)
        if self._clock() - self._written >= self._every:
            self._write()

    def remove(self) -> None:
        """The run has ended."""
        self._path.unlink(missing_ok=True)

    def _write(self) -> None:
        # Replaced, not rewritten: a reader never sees half a line. Not fsynced: it is worth nothing after a crash.
        temporary = self._path.with_suffix(".tmp")
        temporary.write_text(json.dumps(asdict(self._now)), encoding="utf-8")
        temporary.replace(self._path)
        self._written = self._clock()


class ProgressCall(ProgressFile):
    """The same for whoever watches in this process: a function is told, and there is no file."""

    def __init__(self, tell: Callable[[Progress], None], clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(Path(), clock)
        self._tell = tell

    def remove(self) -> None:
        """Nothing is there to be removed."""

    def _write(self) -> None:
        self._tell(self._now)
        self._written = self._clock()


def read_progress(path: Path) -> Progress | None:
    """The progress a worker wrote last; None where there is none that can be read.

    After a crash of the machine the file may be torn, and another version may have written it: no result is in it.
    """
    try:
        return Progress(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
