"""Watches a run's process until it ends, and writes the record of one that could not."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import psutil

from fairtune.execute.nursery import Nursery
from fairtune.execute.origin import provenance_of, utc_now
from fairtune.execute.progress import Progress, read_progress
from fairtune.records import ErrorInfo, RunFolder, RunRecord, Status, command_line, read_record, write_record
from fairtune.study import Budget, RunSpec
from fairtune.units import format_bytes, format_seconds

_POLL_SECONDS = 0.1
_GRACE_SECONDS = 5.0
_OOM_EVENTS = Path("/sys/fs/cgroup/memory.events")

Watch = Callable[[Progress | None, float], None]
"""Told the run's progress and the seconds since it started."""


@dataclass(frozen=True)
class Stopped:
    """Why the supervisor ended a run."""

    status: Status
    message: str


def supervise(nursery: Nursery, spec: RunSpec, folder: RunFolder, watch: Watch) -> RunRecord:
    """Starts a run and returns its record, whoever had to write it.

    Raises:
        KeyboardInterrupt: Ctrl-C; the run has been ended, and its record says ``interrupted``.
    """
    started, kills = utc_now(), oom_kills()
    process = nursery.start(folder.path)
    try:
        stopped = watch_until_end(process, spec.budget, folder, watch, spec.ranks)
    except KeyboardInterrupt:
        end(process)
        stopped = Stopped("interrupted", "stopped from the keyboard; the next `fairtune run` goes on with this run")
        _settle(spec, folder, process, stopped, started, kills)
        raise
    return _settle(spec, folder, process, stopped, started, kills)


def lost(
    spec: RunSpec,
    folder: RunFolder,
    status: Status,
    kind: str,
    message: str,
    started: str,
    command: tuple[str, ...] | None = None,
) -> RunRecord:
    """Writes the record of a run that could not write its own.

    Args:
        command: what was typed, where this process is not the one it started.
    """
    progress = read_progress(folder.progress)
    record = RunRecord(
        run_id=spec.run_id,
        study=spec.study,
        status=status,
        error=ErrorInfo(phase=progress.phase if progress else None, kind=kind, message=message),
        spec=spec,
        plan=folder.read_plan(),
        provenance=provenance_of(
            spec, command or command_line(), started, progress.device if progress else None, None, None
        ),
    )
    write_record(folder, record)
    folder.progress.unlink(missing_ok=True)
    return record


def watch_until_end(
    process: BaseProcess, budget: Budget, folder: RunFolder, watch: Watch, ranks: int = 1
) -> Stopped | None:
    """Waits for a process, or ends it when it passes its budget; says why then.

    Args:
        folder: where it tells its progress.
        ranks: processes that share its work.
    """
    begun = time.monotonic()
    while process.exitcode is None:
        process.join(_POLL_SECONDS)
        progress = read_progress(folder.progress)
        if not folder.record.exists():
            watch(progress, time.monotonic() - begun)
        pids = (process.pid, *_ranks(ranks, folder))
        reason = _over_budget(pids, budget, progress, time.monotonic() - begun)
        if reason and process.exitcode is None:
            end(process)
            return reason
    return None


def _over_budget(
    pids: Sequence[int | None], budget: Budget, progress: Progress | None, seconds: float
) -> Stopped | None:
    limit = budget.time
    if limit is not None and seconds > limit:
        return Stopped("timeout", f"stopped after {format_seconds(seconds)}; budget.time is {format_seconds(limit)}")
    memory = budget.memory
    if memory is not None and progress is not None and progress.device == "cpu":
        used = max(_resident_bytes(pid) for pid in pids)
        if used > memory:
            told = f"stopped at {format_bytes(used)}; budget.memory is {format_bytes(memory)}"
            return Stopped("out_of_memory", told)
    return None


def _ranks(count: int, folder: RunFolder) -> list[int]:
    """The processes that share a run: the budget holds for each."""
    known = [read_progress(folder.of_rank(rank).progress) for rank in range(count)] if count > 1 else []
    return [progress.pid for progress in known if progress]


def _resident_bytes(pid: int | None) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:  # it has just ended
        return 0


def end(process: BaseProcess) -> None:
    """Asks a process to end, and makes it."""
    process.terminate()
    process.join(_GRACE_SECONDS)
    if process.exitcode is None:
        process.kill()
        process.join()


def _settle(
    spec: RunSpec, folder: RunFolder, process: BaseProcess, stopped: Stopped | None, started: str, kills: int
) -> RunRecord:
    """The record the run wrote, or else one that says how its process ended."""
    if folder.record.exists():
        return read_record(folder.record)
    if stopped is not None:
        return lost(spec, folder, stopped.status, "stopped", stopped.message, started)
    return lost(spec, folder, *ending(process.exitcode or 0, kills, "the process", folder), started)


def ending(code: int, kills: int, who: str, folder: RunFolder) -> tuple[Status, str, str]:
    """Status, kind and message for a process that left no record.

    Args:
        code: its exit code; negative for a signal.
        kills: processes that the kernel had killed for memory before it began.
    """
    if code >= 0:
        return "failed", "exit", f"{who} ended with code {code} and left no record; see {folder.log}"
    name = signal.Signals(-code).name
    if name == "SIGKILL" and oom_kills() > kills:
        return "out_of_memory", name, f"{who} was killed by the kernel (SIGKILL): the machine's memory was used up"
    return "failed", name, f"{who} was ended by signal {-code} ({name})"


def oom_kills() -> int:
    """Processes that the kernel has killed for memory in this control group; 0 where that is not counted."""
    try:
        lines = _OOM_EVENTS.read_text(encoding="ascii").split("\n")
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
