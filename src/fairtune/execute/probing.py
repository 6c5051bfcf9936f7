"""Every method on every device of this machine, in every precision: tried, not guessed."""

from __future__ import annotations

from typing import get_args

from fairtune.methods import METHODS
from fairtune.study import Precision


def probe_methods() -> list[dict[str, str | None]]:
    """For each method, in the order of the table: by "device precision", None where it runs, else the reason."""
    import torch

    from fairtune.methods.probe import probe
    from fairtune.models.device import kinds_there

    places = [(device, precision) for device in kinds_there() for precision in get_args(Precision)]
    return [
        {
            f"{device} {precision}": probe(method, torch.device(device), precision)
            for device, precision in places
            if method.inner is None
        }
        for method in METHODS.values()
    ]
