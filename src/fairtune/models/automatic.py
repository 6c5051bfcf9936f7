"""What ``precision: auto`` stands for on this machine. Light: torch is asked only where there may be a GPU."""

from __future__ import annotations

import platform
from pathlib import Path

from fairtune.study import Precision

_CPU_INFORMATION = Path("/proc/cpuinfo")
_NVIDIA = Path("/dev/nvidiactl")
# A CPU has products of bf16 if it says one of these; others do them number by number, slower than fp32 by far
# (30 times on an AMD EPYC with AVX2 alone).
_SAYS_BF16 = {"avx512_bf16", "amx_bf16", "bf16", "svebf16"}


def automatic_precision(device: str, information: Path = _CPU_INFORMATION) -> Precision:
    """bf16 where the device computes in it, else fp32.

    Args:
        device: as ``budget.device`` has it.
        information: what Linux says of the processor.
    """
    if device.startswith("cuda") or (device == "auto" and _NVIDIA.exists()):
        return _of_cuda()
    # Apple's GPUs have bf16 from the M2 on; which of them gain by it was not measured.
    return "bf16" if device in {"auto", "cpu"} and _cpu_flags(information) & _SAYS_BF16 else "fp32"


def _of_cuda() -> Precision:
    """Written with care, not run: no GPU was at hand."""
    import torch

    supported = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16" if supported else "fp32"


def _cpu_flags(information: Path) -> set[str]:
    """What the processor says it can do; nothing where nobody says it."""
    if platform.system() != "Linux" or not information.exists():
        return set()
    lines = information.read_text(encoding="utf-8", errors="replace").split("\n")
    return {flag for line in lines if line.lower().startswith(("flags", "features")) for flag in line.split()}
