"""Processes that start warm.

The standard library's fork server imports torch, transformers and PEFT once, in a process of its own that touches no
device, and forks a child for each run: a start takes milliseconds instead of seconds. Where there is no fork, a
process is spawned and imports by itself.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from fairtune.execute.heap import whole_heaps
from fairtune.records import command_line

Begin = Callable[[str, tuple[str, ...]], None]
_PRELOADED = ["fairtune.execute.warm"]


class Nursery:
    """Starts the process of a run."""

    def __init__(self) -> None:
        methods = multiprocessing.get_all_start_methods()
        self._context: Any = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")

    def warm(self) -> None:
        """Lets the imports begin, without waiting for them."""
        if self._context.get_start_method() == "forkserver":
            from multiprocessing import forkserver

            self._context.set_forkserver_preload(_PRELOADED)
            with _deaf(), whole_heaps():
                forkserver.ensure_running()

    def start(self, folder: Path, begin: Begin | None = None) -> BaseProcess:
        """The process that does what ``spec.json`` in the folder says: a run, if no other beginning is given."""
        process: BaseProcess = self._context.Process(target=begin or _begin_run, args=(str(folder), command_line()))
        with whole_heaps():
            process.start()
        return process


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """A process that is started meanwhile never hears Ctrl-C, not even among its imports: it is for this one."""
    if threading.current_thread() is not threading.main_thread():
        yield  # no other thread may say what signals do
        return
    usual = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)


# Not imported above: whoever starts a process need not import torch.


def _begin_run(folder: str, command: tuple[str, ...]) -> None:
    from fairtune.execute.worker import work

    work(folder, command)


def begin_plan(folder: str, command: tuple[str, ...]) -> None:
    """What the process that plans does."""
    from fairtune.execute.plan_worker import work

    work(folder, command)


def begin_judge(folder: str, command: tuple[str, ...]) -> None:
    """What the process of a judge does."""
    from fairtune.execute.judge_worker import work

    work(folder, command)
