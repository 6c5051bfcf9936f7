"""A tensor that is divided among processes: the part that lies here, and the whole."""

from __future__ import annotations

from torch import Tensor


def own_of(tensor: Tensor) -> Tensor:
    """What of it lies in this process, sharing its memory; all of it where it is not divided.

    This is what a process writes when each keeps its own part, and what it reads back into.
    """
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def whole_of(tensor: Tensor) -> Tensor:
    """All of it, in every process. All must ask for it together."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
