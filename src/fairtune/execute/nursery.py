"""Processes that start warm.

The standard library's fork server imports torch, transformers and PEFT once, in a process of its own that touches no
device, and forks a child for each run: a start takes milliseconds instead of seconds. Where there is no fork, a
process is spawned and imports by itself.
"""

from __future__ import annotations

import multiprocessing
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from fairtune.records import command_line

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
            forkserver.ensure_running()

    def start(self, folder: Path) -> BaseProcess:
        """The process that does the run whose ``spec.json`` is in the folder."""
        process: BaseProcess = self._context.Process(target=_begin, args=(str(folder), command_line()))
        process.start()
        return process


def _begin(folder: str, command: tuple[str, ...]) -> None:
    # Not imported above: whoever starts a run need not import torch.
    from fairtune.execute.worker import work

    work(folder, command)
