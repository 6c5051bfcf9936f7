"""The user's cache folder: fetched weights, converted once, and hashes of large files."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """``FAIRTUNE_CACHE``, or the platform's cache folder for fairtune."""
    chosen = os.environ.get("FAIRTUNE_CACHE")
    return Path(chosen).expanduser() if chosen else Path(platformdirs.user_cache_dir("fairtune", appauthor=False))


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, remembered by path, size and time of change: weights are large."""
    status = path.stat()
    key = hashlib.sha256(f"{path.resolve()}|{status.st_size}|{status.st_mtime_ns}".encode()).hexdigest()
    memory = cache_folder() / "sha256" / key
    if memory.exists():
        return memory.read_text(encoding="ascii")
    digest = _hash(path)
    memory.parent.mkdir(parents=True, exist_ok=True)
    temporary = memory.with_name(f"{memory.name}.{os.getpid()}")
    temporary.write_text(digest, encoding="ascii")
    temporary.replace(memory)
    return digest


def _hash(path: Path) -> str:
    running = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            running.update(block)
    return running.hexdigest()
