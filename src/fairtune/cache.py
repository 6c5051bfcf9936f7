"""The user's cache folder: fetched weights, converted once, and hashes of large files."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import platformdirs
from filelock import FileLock

from fairtune.errors import BudgetError


def cache_folder() -> Path:
    """``FAIRTUNE_CACHE``, or the platform's cache folder for fairtune."""
    chosen = os.environ.get("FAIRTUNE_CACHE")
    return Path(chosen).expanduser() if chosen else Path(platformdirs.user_cache_dir("fairtune", appauthor=False))


@contextlib.contextmanager
def cache_lock(target: Path) -> Iterator[None]:
    """Holds the making of ``target``, whose folder is made; other processes wait.

    Raises:
        BudgetError: the cache cannot be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(target.with_name(f"{target.name}.lock"))
        lock.acquire()
    except OSError as error:
        raise BudgetError(
            f"{target.parent}: cannot be written: {error.strerror}; set FAIRTUNE_CACHE elsewhere"
        ) from None
    try:
        yield
    finally:
        lock.release()


def remember(kind: str, key: str, value: str) -> None:
    """Keeps a short text under a key. A cache that cannot be written costs time, not results."""
    memory = _memory(kind, key)
    with contextlib.suppress(OSError):
        memory.parent.mkdir(parents=True, exist_ok=True)
        temporary = memory.with_name(f"{memory.name}.{os.getpid()}")
        temporary.write_text(value, encoding="utf-8")
        temporary.replace(memory)


def recall(kind: str, key: str) -> str | None:
    """What was kept under a key."""
    memory = _memory(kind, key)
    return memory.read_text(encoding="utf-8") if memory.exists() else None


def _memory(kind: str, key: str) -> Path:
    return cache_folder() / kind / hashlib.sha256(key.encode()).hexdigest()


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, remembered by path, size and time of change: weights are large."""
    status = path.stat()
    key = f"{path.resolve()}|{status.st_size}|{status.st_mtime_ns}"
    known = recall("sha256", key)
    if known:
        return known
    digest = hash_file(path)
    remember("sha256", key, digest)
    return digest


def hash_file(path: Path) -> str:
    """SHA-256 of a file, read whole."""
    running = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            running.update(block)
    return running.hexdigest()
