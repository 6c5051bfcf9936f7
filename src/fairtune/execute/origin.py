"""The provenance part of a record."""

from __future__ import annotations

import datetime
import platform
from pathlib import Path
from typing import Any

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
    """Of a run."""
    return provenance_here(
        command,
        started,
        device,
        device_name,
        threads,
        processes=spec.ranks,
        strategy=spec.parallel.strategy if spec.ranks > 1 else None,
        model_fingerprint=spec.model.fingerprint,
        data_fingerprint=spec.task.fingerprint,
    )


def provenance_here(
    command: tuple[str, ...],
    started: str,
    device: str | None,
    device_name: str | None,
    threads: int | None,
    **more: Any,
) -> Provenance:
    """Versions, code and machine of this process. A process that ended early never said its device: None.

    Args:
        more: what else a :class:`~fairtune.records.Provenance` has.
    """
    git = git_state(Path.cwd())
    return Provenance(
        fairtune=fairtune.__version__,
        packages=package_versions(),
        python=python_version(),
        platform=platform.platform(),
        device=device,
        device_name=device_name,
        threads=threads,
        git_commit=git.commit,
        git_dirty=git.dirty,
        git_reason=git.reason,
        command=command,
        started=started,
        **more,
    )
