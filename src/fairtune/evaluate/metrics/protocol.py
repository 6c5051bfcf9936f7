"""A metric is a few numbers per item, and a function of their sums.

Perplexity is a function of summed losses and token counts; BLEU of summed n-gram matches; an accuracy of summed
hits. Said this way, one bootstrap gives every metric its interval, one permutation test compares any two runs, and
what is stored for an item is enough to do both again later.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Outcome:
    """What a run did on one item. ``output`` is generated text, never teacher-forced."""

    id: str
    prompt_hash: str
    reference: str
    loss: float | None = None
    """Negative log-likelihood of the reference, in nats, summed over its tokens."""
    loss_tokens: int | None = None
    output: str | None = None
    output_tokens: int | None = None
    stopped: bool | None = None


class Metric(Protocol):
    """One file a metric. Importing it is light."""

    name: str
    version: int
    """Raised when the meaning of the number changes."""
    unit: str
    higher_is_better: bool
    needs: Literal["likelihood", "generation"]
    statistics: tuple[str, ...]
    """Names of the numbers kept for each item."""
    proportion: bool
    """True where the value is a share of items, so that Wilson's interval holds."""
    description: str

    def item(self, outcome: Outcome) -> tuple[float, ...]:
        """The item's numbers, in the order of :attr:`statistics`."""

    def aggregate(self, sums: Floats) -> Floats:
        """``(..., len(statistics))`` sums over items to ``(...)`` values."""

    def signature(self) -> str | None:
        """The underlying library's own description of the computation, if it has one."""
