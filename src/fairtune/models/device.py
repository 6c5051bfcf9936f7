"""Which device, and what it is called."""

from __future__ import annotations

import platform
from pathlib import Path

import torch

from fairtune.errors import BudgetError

# On a CPU, attention that is written out beats the fused kernel's backward up to about this length
# (SmolLM2-135M, 16 rows of 34 tokens: 1.9 s fused, 1.4 s written out); its memory grows with the square.
_WRITTEN_OUT_UP_TO = 512


def choose_device(asked: str) -> torch.device:
    """``auto`` is CUDA, then MPS, then the CPU.

    Raises:
        BudgetError: the device asked for is not there.
    """
    if asked == "auto":
        asked = kinds_there()[0]
    device = torch.device(asked)
    if device.type not in kinds_there():
        raise BudgetError(f"budget.device is '{asked}', which this machine (or this build of torch) does not have")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise BudgetError(f"budget.device is '{asked}'; there are {torch.cuda.device_count()} CUDA devices")
    return device


def device_of_rank(device: torch.device, local_rank: int, processes: int) -> torch.device:
    """The device of one of several processes on a machine: a GPU of its own, or a share of the CPU's cores.

    Raises:
        BudgetError: there are too few GPUs, or it is no kind of device that processes can share a model on.
    """
    if device.type == "cuda":  # written with care, not run: no GPU was at hand
        if torch.cuda.device_count() < processes:
            raise BudgetError(
                f"parallel.processes is {processes}, and there are {torch.cuda.device_count()} CUDA devices: each "
                "process needs its own"
            )
        torch.cuda.set_device(local_rank)
        return torch.device("cuda", local_rank)
    if device.type != "cpu":
        raise BudgetError(f"parallel.processes is {processes}: torch has no collectives on {device.type}; use the cpu")
    torch.set_num_threads(max(1, torch.get_num_threads() // processes))
    return device


def kinds_there() -> list[str]:
    """Kinds of device that this machine and this build of torch have, the fastest first."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    return [kind for kind, found in there.items() if found]


def device_name(device: torch.device) -> str:
    """The maker's name for the device."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "cpu":
        return _cpu_name()
    return platform.processor() or platform.machine()


def written_out_attention(device: torch.device, longest: int) -> dict[str, str]:
    """How transformers is told to compute attention over examples of at most ``longest`` tokens."""
    written_out = device.type == "cpu" and longest <= _WRITTEN_OUT_UP_TO
    return {"attn_implementation": "eager"} if written_out else {}  # elsewhere transformers knows best


def _cpu_name() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8", errors="replace").split("\n"):
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
