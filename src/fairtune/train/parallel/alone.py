"""One process does everything."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from torch import Tensor

from fairtune.data import Encoded
from fairtune.methods import Tuned
from fairtune.models.rows import Batching
from fairtune.train.parallel.group import OneProcess
from fairtune.train.parallel.parts import Part, cut


class Alone:
    """Nothing to share, nothing to wait for."""

    group = OneProcess()
    keeps = True

    def wrap(self, tuned: Tuned) -> None:
        """As it is."""

    def parts(self, examples: Sequence[Encoded], batching: Batching) -> Iterator[Part]:
        """All of them."""
        return cut(examples, batching)

    def reduce(self, tensors: Sequence[Tensor]) -> None:
        """The sums are there."""

    def whole(self, tuned: Tuned, again: Callable[[], Tuned]) -> Tuned:
        """It always was."""
        return tuned


ALONE = Alone()
