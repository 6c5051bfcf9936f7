"""What every side of ``benchmarks/train.py`` is measured with. Needs torch and safetensors only.

A side is a script ``with_PEER.py SETTING WORKLOAD.json WEIGHTS.safetensors [KEY=VALUE …]``. It trains, calls
:meth:`Meter.begin` just before and :meth:`Meter.end` just after, writes what it trained, and prints one line.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import sys
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

MARK = "MEASURED "


@dataclass(frozen=True)
class Request:
    """What a side was asked for: its setting, the workload, where the weights go, and settings put over its own."""

    setting: str
    workload: dict[str, Any]
    weights: Path
    changes: dict[str, Any]

    def ordered(self) -> list[dict[str, Any]]:
        """The rows as the first epoch of fairtune takes them: every ``batch_size`` of them are an update."""
        return [self.workload["rows"][at] for at in self.workload["order"]]


def asked() -> Request:
    setting, workload, weights, *changes = sys.argv[1:]
    torch.manual_seed(0)
    return Request(setting, json.loads(Path(workload).read_text()), Path(weights), dict(map(_change, changes)))


def _change(text: str) -> tuple[str, Any]:
    key, _, value = text.partition("=")
    try:
        return key, json.loads(value)
    except json.JSONDecodeError:
        return key, value


class Meter:
    """Seconds, and resident memory, from one moment to another. Linux only: elsewhere the bytes are None."""

    def begin(self) -> None:
        gc.collect()
        with contextlib.suppress(OSError, AttributeError):  # glibc keeps freed memory; others have no such function
            ctypes.CDLL("libc.so.6").malloc_trim(0)
        self.resident = _status("VmRSS")
        if self.resident is not None:
            Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts anew, see proc(5)
        self.started = self.ended = _now()

    def tick(self, *_: Any) -> None:
        """Training went on until here, at least."""
        self.ended = _now()

    def end(self) -> dict[str, Any]:
        seconds, processor = (end - start for start, end in zip(self.started, self.ended, strict=True))
        memory = {"peak_bytes": _status("VmHWM"), "resident_bytes": self.resident}
        return {"seconds": seconds, "processor_seconds": processor} | memory


def _now() -> tuple[float, float]:
    """Time, and what the process has spent of its processors' time."""
    return time.perf_counter(), time.process_time()


def _status(key: str) -> int | None:
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:")), None)


def fingerprint(weights: dict[str, torch.Tensor]) -> str:
    """Of what training starts from: two sides with the same start from the same bits."""
    crc = 0
    for name in sorted(weights):
        crc = zlib.crc32(weights[name].detach().float().contiguous().numpy().tobytes(), crc)
    return f"{crc:08x}"


def write_weights(weights: dict[str, torch.Tensor], file: Path) -> None:
    save_file({name: weight.detach().clone().contiguous() for name, weight in weights.items()}, file)


def tell(measured: dict[str, Any]) -> None:
    print(MARK + json.dumps(measured), flush=True)


def heard(output: str) -> dict[str, Any]:
    """What a side told, from everything that it printed.

    Raises:
        ValueError: it told nothing.
    """
    lines = [line for line in output.splitlines() if line.startswith(MARK)]
    if not lines:
        raise ValueError("the side printed no measurement")
    found: dict[str, Any] = json.loads(lines[-1].removeprefix(MARK))
    return found
