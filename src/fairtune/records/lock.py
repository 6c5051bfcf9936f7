"""One `fairtune run` a study at a time. The operating system drops the lock of a process that died."""

from __future__ import annotations

import contextlib
import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from fairtune.errors import BudgetError, RecordError
from fairtune.records.store import write_atomically


@contextlib.contextmanager
def study_lock(folder: Path) -> Iterator[None]:
    """Holds a study's folder.

    Raises:
        RecordError: another process holds it; the message gives its pid.
        BudgetError: the folder cannot be written.
    """
    holder = folder / "running.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        lock.acquire(timeout=0)
    except Timeout:
        raise RecordError(f"{folder}: is being run by {_describe(holder)}; wait for it, or stop it first") from None
    except OSError as error:
        raise BudgetError(
            f"{folder}: cannot be written: {error.strerror}. Choose another place with --runs DIR"
        ) from None
    try:
        write_atomically(holder, json.dumps({"pid": os.getpid(), "host": platform.node()}))
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _describe(holder: Path) -> str:
    try:
        raw = json.loads(holder.read_text(encoding="utf-8"))
        return f"process {raw['pid']} on {raw['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process (its pid is not written yet)"
