"""Seconds and peak memory of each phase, apart from each other."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from fairtune.execute.progress import ProgressFile
from fairtune.records import Phase, PhaseCost

_CLEAR_REFS = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


class PhaseMeter:
    """Measures one phase at a time. A phase that ends in an error is measured too."""

    def __init__(self, progress: ProgressFile) -> None:
        self.costs: dict[Phase, PhaseCost] = {}
        self.current: Phase | None = None
        self.device = torch.device("cpu")
        self._progress = progress
        self._started = 0.0
        self._reset_problem: str | None = None

    @contextlib.contextmanager
    def phase(self, name: Phase, steps: int | None = None) -> Iterator[ProgressFile]:
        """Everything inside belongs to the phase. Peaks count from here on."""
        self.current = name
        self._progress.enter(name, self.device.type, steps)
        self._reset_problem = _reset_peak(self.device)
        self._started = time.perf_counter()
        try:
            yield self._progress
        finally:
            self.costs[name] = self.so_far(name)

    def so_far(self, name: Phase) -> PhaseCost:
        """What the phase that is on has cost, with what it cost when it was entered before."""
        _wait_for(self.device)
        seconds = time.perf_counter() - self._started
        peak, what = _peak(self.device, self._reset_problem)
        return _added(self.costs.get(name), PhaseCost(seconds=seconds, peak_bytes=peak, memory=what))

    def widen(self, largest: Callable[[Sequence[float]], list[float]]) -> None:
        """Makes every peak the largest of all processes that share the run: what one device must have.

        Args:
            largest: of each number, the largest of all; called by all with the same phases behind them.
        """
        known = {name: cost.peak_bytes for name, cost in self.costs.items() if cost.peak_bytes is not None}
        for name, peak in zip(known, largest(list(known.values())), strict=True):
            self.costs[name] = self.costs[name].model_copy(update={"peak_bytes": int(peak)})


def _added(earlier: PhaseCost | None, now: PhaseCost) -> PhaseCost:
    """A phase that is entered again goes on: its seconds add up, and the larger peak is its peak."""
    if earlier is None:
        return now
    peaks = [cost.peak_bytes for cost in (earlier, now) if cost.peak_bytes is not None]
    return PhaseCost(seconds=earlier.seconds + now.seconds, peak_bytes=max(peaks, default=None), memory=now.memory)


def _reset_peak(device: torch.device) -> str | None:
    """Starts a new peak; says why it cannot."""
    release_memory(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return None
    if device.type != "cpu":
        return f"torch counts no peak on {device.type}"
    if not sys.platform.startswith("linux"):
        return "peaks of a phase are only counted on Linux and CUDA"
    try:
        _CLEAR_REFS.write_text("5", encoding="ascii")  # resets VmHWM, see proc(5)
    except OSError as error:
        return f"the kernel does not let the peak be reset: {error.strerror}"
    return None


def release_memory(device: torch.device) -> None:
    """What is no longer used goes back: torch's allocator and glibc keep it, and it would count for the next phase."""
    gc.collect()
    if device.type == "cuda":  # written with care, not run: no GPU was at hand
        torch.cuda.empty_cache()
    with contextlib.suppress(OSError, AttributeError):  # another C library has no malloc_trim, and needs none
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def _peak(device: torch.device, problem: str | None) -> tuple[int | None, str]:
    if problem:
        return None, problem
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device), "memory reserved by torch's CUDA allocator"
    for line in _STATUS.read_text(encoding="ascii", errors="replace").split("\n"):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024, "resident memory of the run's process, libraries included"
    return None, "the kernel states no VmHWM"


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
