"""Whether all processes begin with the same weights."""

from __future__ import annotations

import math
from typing import Any

import torch

from fairtune.errors import ModelError
from fairtune.train.parallel.group import Group


@torch.no_grad()
def require_same_weights(network: Any, group: Group) -> None:
    """Compares the sum of every parameter over all processes, to the last bit.

    Raises:
        ModelError: they differ. Training would go on, and each process would train another model.
    """
    names, sums = [], []
    for name, parameter in network.named_parameters():
        total = float(parameter.sum(dtype=torch.float64))
        names.append(name)
        sums.append(total if math.isfinite(total) else 0.0)
    most = group.largest(sums)
    least = [-value for value in group.largest([-value for value in sums])]
    for name, low, high in zip(names, least, most, strict=True):
        if low != high:
            raise ModelError(
                f"the {group.ranks} processes begin with different weights, first in {name}: their files, or the "
                "machines they run on, are not the same"
            )
