"""What torch would choose on a CUDA device, where it chooses something else for tensors on a CPU.

A phantom says that it lies on the CPU, so operations that are cut up by device are cut up as there. Where that keeps
other memory for the backward pass, it is set right here. Nothing else was found: attention keeps queries, keys, values,
its result and a logarithm in fp32 for each row on both (torch's flash kernel; with a mask, its efficient one).
"""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode


class CudaChoices(TorchFunctionMode):
    """While active, dropout keeps what it dropped as truth values, as CUDA's kernel does.

    On a CPU it keeps a tensor of the input's type (``at::dropout`` asks whether the input is on a GPU).
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is functional.dropout:
            return _dropout(*args, **kwargs)
        return func(*args, **kwargs)


def choices_of(kind: str) -> contextlib.AbstractContextManager[object]:
    """As torch chooses on a kind of device."""
    return CudaChoices() if kind == "cuda" else contextlib.nullcontext()


def _dropout(input: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> torch.Tensor:  # noqa: A002 - torch's names
    if not training or inplace or not 0 < p < 1:
        return functional.dropout(input, p, training, inplace)
    return torch.native_dropout(input, p, True)[0]
