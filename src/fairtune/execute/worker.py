"""Inside a run's own process. Imported once by a warm parent, before any device is touched, and then forked."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import NoReturn

# Imported here so that every forked run finds them in memory.
import peft  # noqa: F401
import torch
import transformers.models.auto.modeling_auto
import transformers.models.llama.modeling_llama  # noqa: F401

from fairtune.errors import DivergedError, FairtuneError
from fairtune.execute.job import Happened, run_job
from fairtune.execute.origin import provenance_of, utc_now
from fairtune.execute.phases import PhaseMeter
from fairtune.execute.progress import ProgressFile
from fairtune.execute.ranks import lead, peer_is_lost
from fairtune.models.device import device_name
from fairtune.models.memory import is_out_of_memory
from fairtune.records import ErrorInfo, RunFolder, RunRecord, Status, write_atomically, write_record
from fairtune.study import RunSpec


def work(folder_path: str, command: tuple[str, ...]) -> None:
    """Reads ``spec.json``, does the run, writes ``record.json``. Never raises: what goes wrong is the record."""
    folder = RunFolder(Path(folder_path))
    settle_in(folder)
    spec = _spec_of(folder)
    if spec.ranks > 1:
        lead(spec, folder, command, work_as_rank)
        return
    progress = ProgressFile(folder.progress)
    write_record(folder, _done(spec, folder, command, progress))
    progress.remove()


def work_as_rank(folder_path: str, command: tuple[str, ...]) -> None:
    """One of several processes that share a run. Rank 0 writes the record, unless one fails."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the launcher's handler came along when this was forked
    rank, folder = int(os.environ["RANK"]), RunFolder(Path(folder_path))
    own = folder.of_rank(rank)
    own.path.mkdir(parents=True, exist_ok=True)
    settle_in(own)
    spec = _spec_of(folder)
    progress = ProgressFile(own.progress)
    record = _done(spec, folder, command, progress)
    if record.error is not None:
        _fail_as_rank(rank, folder, record, record.error)
    if rank == 0:
        write_record(folder, record)
    progress.remove()


def _fail_as_rank(rank: int, folder: RunFolder, record: RunRecord, error: ErrorInfo) -> NoReturn:
    """Leaves the record to the launcher, which ends the others when it sees this process gone."""
    if record.status != "diverged":  # that is found by all together
        if peer_is_lost(folder, record.spec.ranks):
            threading.Event().wait()  # not the cause: the launcher has seen who was, and ends this process
        error = error.model_copy(update={"message": f"rank {rank}: {error.message}"})
    told = record.model_copy(update={"error": error})
    write_atomically(folder.failure_of(rank), told.model_dump_json(indent=1) + "\n")
    sys.exit(1)


def settle_in(folder: RunFolder) -> None:
    """What every process does first: it leaves Ctrl-C to its parent, ends with it, and prints into its log."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then ends this process
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    _log_to(folder.log)
    # What is in memory now are libraries, which stay. To look through their objects took 0.2 s at each of five phases.
    gc.freeze()


def _spec_of(folder: RunFolder) -> RunSpec:
    return RunSpec.model_validate_json(folder.spec.read_text(encoding="utf-8"))


def _done(spec: RunSpec, folder: RunFolder, command: tuple[str, ...], progress: ProgressFile) -> RunRecord:
    """Does the run, and says how it went."""
    started = utc_now()
    meter = PhaseMeter(progress)
    happened = Happened()
    status, error = _attempt(spec, folder, meter, happened)
    return RunRecord(
        run_id=spec.run_id,
        study=spec.study,
        status=status,
        error=error,
        spec=spec,
        phases=meter.costs,
        plan=folder.read_plan(),
        provenance=provenance_of(
            spec, command, started, str(meter.device), device_name(meter.device), torch.get_num_threads()
        ),
        **vars(happened),
    )


def _attempt(
    spec: RunSpec, folder: RunFolder, meter: PhaseMeter, happened: Happened
) -> tuple[Status, ErrorInfo | None]:
    try:
        run_job(spec, folder, meter, happened)
    except Exception as error:  # noqa: BLE001 - whatever it is becomes the record, and its traceback the log
        traceback.print_exc()
        kind, message = type(error).__name__, str(error) or "no message; see log.txt"
        return status_of(error), ErrorInfo(phase=meter.current, kind=kind, message=message)
    return "ok", None


def status_of(error: Exception) -> Status:
    """How something ended that an error ended."""
    if isinstance(error, DivergedError):
        return "diverged"
    if isinstance(error, FairtuneError):
        return "failed"
    return "out_of_memory" if is_out_of_memory(error) else "failed"


def _log_to(path: Path) -> None:
    """Everything printed from here on, by C libraries too, goes to the run's log."""
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)


def _leave_with_parent() -> None:
    """Ends this process when the command that started it is gone: nobody watches, and the machine is needed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
