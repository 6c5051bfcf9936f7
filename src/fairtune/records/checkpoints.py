"""How the checkpoints of a run lie on disk: what can be known of them without reading a weight.

``checkpoints/<update>/`` holds ``rank-0.safetensors`` and ``rank-0.json`` of every process that trained, and
``manifest.json``, which was written last.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fairtune.cache import hash_file
from fairtune.errors import RecordError

MANIFEST = "manifest.json"
LAYOUT = 1


@dataclass(frozen=True)
class Manifest:
    """What a checkpoint is of, and the SHA-256 of each of its files.

    ``identity`` is what must be the same for training to go on bit for bit; ``circumstances`` are told if they differ.
    """

    update: int
    identity: Mapping[str, Any]
    circumstances: Mapping[str, Any]
    files: Mapping[str, str]
    layout: int = LAYOUT

    def text(self) -> str:
        """As it is written."""
        return json.dumps(asdict(self), indent=1) + "\n"


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a checkpoint, whose files have not been looked at.

    Raises:
        RecordError: missing, garbled, or not of this folder.
    """
    path = folder / MANIFEST
    try:
        manifest = Manifest(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise RecordError(f"{path.name} cannot be read ({' '.join(str(error).split())})") from None
    if str(manifest.update) != folder.name or not isinstance(manifest.files, dict) or not manifest.files:
        raise RecordError(f"{path.name} is not the one of this checkpoint")
    return manifest


def require_whole(folder: Path, names: Iterable[str], manifest: Manifest) -> None:
    """Reads these files of a checkpoint once.

    Raises:
        RecordError: a file is missing, or is not what was written.
    """
    for name in names:
        if name not in manifest.files:
            raise RecordError(f"{name} is not in {MANIFEST}")
        try:
            digest = hash_file(folder / name)
        except OSError as error:
            raise RecordError(f"{name} cannot be read ({error.strerror})") from None
        if digest != manifest.files[name]:
            raise RecordError(f"{name} is damaged: its content is not what was written")


def checkpoints_in(folder: Path) -> list[Path]:
    """The checkpoints of a run, the newest first. Nothing says that they are whole."""
    found = [path for path in folder.glob("*") if path.name.isdigit() and path.is_dir()]
    return sorted(found, key=lambda path: int(path.name), reverse=True)


def reached(curve: Path) -> tuple[int, int] | None:
    """Updates made and planned, by the last whole line of a run's curve; None where there is none."""
    lines = curve.read_bytes().split(b"\n") if curve.exists() else []
    for line in reversed(lines):
        with contextlib.suppress(ValueError, KeyError, TypeError):  # torn, where the machine went down
            last = json.loads(line)
            return last["step"], last["steps"]
    return None
