"""The processes that share a run: started, watched, ended together, and the one that failed named.

What ``torchrun`` is made of: torch's elastic agent and its rendezvous. It looks ten times a second whether all live,
and ends the others when one has failed.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psutil
import torch
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from fairtune.execute.origin import utc_now
from fairtune.execute.progress import read_progress
from fairtune.execute.supervise import ending, lost, oom_kills
from fairtune.records import RunFolder, read_record, write_record
from fairtune.study import RunSpec

_PEER_SECONDS = 1.0


@dataclass(frozen=True)
class Failed:
    """The first process that ended badly; a negative code is a signal."""

    rank: int
    pid: int
    code: int


def lead(spec: RunSpec, folder: RunFolder, command: tuple[str, ...], work: Callable[..., None]) -> None:
    """Does a run with several processes; rank 0 writes its record, or, where one fails, this process.

    Args:
        work: what each process does; called with the folder's path and the command.
    """
    started, kills = utc_now(), oom_kills()
    failed = start_ranks(spec.ranks, work, str(folder.path), command)
    if failed is not None and not folder.record.exists():
        own = folder.failure_of(failed.rank)
        if own.exists():
            write_record(folder, read_record(own))
        else:
            status, kind, told = ending(failed.code, kills, f"rank {failed.rank} (process {failed.pid})", folder)
            lost(spec, folder, status, kind, told, started, command)
    for rank in range(spec.ranks):
        folder.of_rank(rank).progress.unlink(missing_ok=True)


def start_ranks(count: int, work: Callable[..., None], *arguments: Any) -> Failed | None:
    """Runs ``work(*arguments)`` in ``count`` processes until all are done; when one fails, the others are ended."""
    with tempfile.TemporaryDirectory(prefix="fairtune-") as logs:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=count,
            run_id=str(os.getpid()),
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            max_restarts=0,
            start_method=_start_method(),
            signals_to_handle="SIGTERM",
            logs_specs=DefaultLogsSpecs(log_dir=logs),
        )
        try:
            elastic_launch(config, work)(*arguments)
        except ChildFailedError as error:
            rank, failure = error.get_first_failure()
            return Failed(rank, failure.pid, failure.exitcode)
    return None


def _start_method() -> str:
    """Forked warm where that is safe: not where the agent may have asked CUDA how many devices there are."""
    return "fork" if sys.platform.startswith("linux") and torch.version.cuda is None else "spawn"


def peer_is_lost(folder: RunFolder, ranks: int) -> bool:
    """Whether another process of the run has ended: what fails here then fails for want of it.

    A process that is killed closes its connections first, which others notice at once, and is gone just after.
    """
    known = [read_progress(folder.of_rank(rank).progress) for rank in range(ranks)]
    peers = [_process(progress.pid) for progress in known if progress and progress.pid != os.getpid()]
    gone, _ = psutil.wait_procs([peer for peer in peers if peer], timeout=_PEER_SECONDS)
    return bool(gone) or None in peers


def _process(pid: int) -> psutil.Process | None:
    try:
        return psutil.Process(pid)
    except psutil.NoSuchProcess:
        return None
