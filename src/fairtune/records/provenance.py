"""Where numbers come from: versions, code, machine."""

from __future__ import annotations

import platform
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

_PACKAGES = (
    "torch",
    "transformers",
    "peft",
    "tokenizers",
    "safetensors",
    "numpy",
    "bitsandbytes",
    "sacrebleu",
    "babel",
)


def package_versions() -> dict[str, str]:
    """Versions of the packages that decide numbers."""
    return {name: metadata.version(name) for name in _PACKAGES}


def python_version() -> str:
    """Implementation and version, as in ``CPython 3.11.7``."""
    return f"{platform.python_implementation()} {platform.python_version()}"


def command_line() -> tuple[str, ...]:
    """The command as typed, the program by its bare name."""
    return (Path(sys.argv[0]).name, *sys.argv[1:])


@dataclass(frozen=True)
class GitState:
    """Commit and cleanliness of a folder; ``reason`` says why they are missing."""

    commit: str | None
    dirty: bool | None
    reason: str | None = None


def git_state(folder: Path) -> GitState:
    """The commit a folder is at, and whether tracked files differ from it."""
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return GitState(None, None, "not a git checkout with a commit, or git is not installed")
    return GitState(commit.strip(), bool(changed.strip()))


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout
