"""The provenance part of a record."""

from __future__ import annotations

import datetime
import platform
from pathlib import Path

import fairtune
from fairtune.records import Provenance, git_state, package_versions, python_version
from fairtune.study import RunSpec


def utc_now() -> str:
    """Now, in UTC, to the second."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def provenance_of(
    spec: RunSpec,
    command: tuple[str, ...],
    started: str,
    device: str | None,
    device_name: str | None,
    threads: int | None,
) -> Provenance:
    """Versions, code and machine of this process. A process that ended early never said its device: None."""
    git = git_state(Path.cwd())
    return Provenance(
        fairtune=fairtune.__version__,
        packages=package_versions(),
        python=python_version(),
        platform=platform.platform(),
        device=device,
        device_name=device_name,
        threads=threads,
        processes=spec.ranks,
        strategy=spec.parallel.strategy if spec.ranks > 1 else None,
        git_commit=git.commit,
        git_dirty=git.dirty,
        git_reason=git.reason,
        command=command,
        started=started,
        model_fingerprint=spec.model.fingerprint,
        data_fingerprint=spec.task.fingerprint,
    )
