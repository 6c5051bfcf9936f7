"""Loss scaling: keeps gradients inside the range of fp16."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from fairtune.errors import DivergedError
from fairtune.study import Precision

# Those of torch.amp.GradScaler. All are powers of two, so that scaling and unscaling round nothing.
START = 2.0**16
_GROWTH = 2.0
_BACKOFF = 0.5
_STEADY = 2000
# Below it the gradient of the loss itself is beyond fp16's largest number, 65,504.
_LEAST = 1.0


class Scaling:
    """The factor of a run's losses, and what happens where gradients do not fit.

    Micikevicius et al. 2018, "Mixed Precision Training", section 3.2.

    fp16 has no numbers between zero and 6e-8: small gradients vanish. So the loss is multiplied before the backward
    pass, and gradients are divided again in fp32. Where one was not finite the update is skipped and the factor
    halved; after 2,000 updates in a row that fitted it is doubled. In every other precision the factor is None and
    nothing is done. torch.amp.GradScaler does the same but tells nobody what it skipped, and looks at the gradients
    of one process only; here the norm decides, which is that of all.
    """

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __init__(self, precision: Precision = "fp32") -> None:
        self.scale: float | None = START if precision == "fp16_mixed" else None
        self.skipped = 0
        self.skipped_in_a_row = 0
        self._steady = 0

    def scaled(self, loss: torch.Tensor) -> torch.Tensor:
        """What the backward pass starts from."""
        return loss if self.scale is None else loss * self.scale

    def unscale(self, tensors: Iterable[torch.Tensor]) -> None:
        """Divides the gradients of these tensors, in place."""
        if self.scale is not None:
            torch._foreach_mul_([tensor.grad for tensor in tensors if tensor.grad is not None], 1.0 / self.scale)

    def fits(self, norm: float) -> bool:
        """Whether an update with gradients of this norm can be made; the scale follows.

        Raises:
            DivergedError: it cannot, and no smaller scale would help.
        """
        if math.isfinite(norm):
            self._grow()
            return True
        if self.scale is None:
            raise DivergedError(f"the gradient's norm is {norm}")
        self.skipped += 1
        self.skipped_in_a_row += 1
        self._steady = 0
        self.scale *= _BACKOFF
        if self.scale < _LEAST:
            raise DivergedError(
                f"the gradient's norm is {norm} in fp16 even where the loss is not scaled up; updates skipped in a "
                f"row: {self.skipped_in_a_row}. Lower the learning rate, or use another precision"
            )
        return False

    def require_some(self, updates: int) -> None:
        """A run that moved nothing is no run.

        Raises:
            DivergedError: all updates were skipped.
        """
        if self.skipped == updates:
            raise DivergedError(
                f"all {updates} updates were skipped: no gradient fitted fp16, and the scale has come down to "
                f"{self.scale:g}. Train longer, so that it can come down further, or use another precision"
            )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Scaling) and vars(self) == vars(other)

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers."""
        return dict(vars(self))

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """As it was at :meth:`state_dict`."""
        vars(self).update(state)

    def _grow(self) -> None:
        self.skipped_in_a_row = 0
        self._steady += 1
        if self.scale is not None and self._steady == _STEADY:
            self.scale *= _GROWTH
            self._steady = 0
