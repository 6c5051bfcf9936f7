"""What a simulation did: every block of memory from its first to its last moment, and every operation, by pass."""

from __future__ import annotations

import bisect
import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from fairtune.plan.operations import Operation, inner_bytes, operation
from fairtune.records import Phase

WEIGHTS, ADAPTER, GRADIENTS, OPTIMIZER = "weights", "adapter", "gradients", "optimizer"
ACTIVATIONS, LOGITS, CACHE = "activations", "logits", "cache"
TERMS = (WEIGHTS, ADAPTER, GRADIENTS, OPTIMIZER, ACTIVATIONS, LOGITS, CACHE)


@dataclass(frozen=True)
class Pass:
    """Operations of one forward pass and what came of it, each with how often."""

    phase: Phase
    name: str
    tokens: int
    work: Counter[Operation]

    def count(self) -> int:
        """Operations."""
        return sum(self.work.values())

    def flops(self) -> float:
        """Of products, two for each multiplication with its addition."""
        return sum(times * each.flops for each, times in self.work.items())


@dataclass(frozen=True)
class Span:
    """A phase: its first event, and the one after its last."""

    phase: Phase
    start: int
    end: int


@dataclass
class Trace:
    """Blocks of memory in the order of what happened to them.

    ``sizes`` and ``terms``: of each block, by its number. ``events``: a block's number when it comes to be, its
    complement (``~number``) when it goes.
    """

    sizes: list[int] = field(default_factory=list)
    terms: list[str] = field(default_factory=list)
    events: list[int] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)


class Ledger:
    """Keeps a :class:`Trace` and passes; a :class:`~fairtune.plan.phantom.Witness`.

    Args:
        vocabulary: columns of logits, by which they are known.

    Attributes:
        live: bytes of all blocks that are there now.
    """

    def __init__(self, vocabulary: int) -> None:
        self.trace = Trace()
        self.passes: list[Pass] = []
        self.live = 0
        self._vocabulary = vocabulary
        self._phase: Phase = "load"
        self._term = WEIGHTS
        self._work: Counter[Any] = Counter()
        self._operations: dict[Any, Operation] = {}
        self._numbers: dict[int, int] = {}
        self._boundaries: list[int] = []
        self._tokens = 0
        self._stretched: int | None = None

    def made(self, size: int, tensor: torch.Tensor) -> Callable[[], None]:
        """As :class:`~fairtune.plan.phantom.Witness` says."""
        number = self._come(size, self._term_of(tensor))
        key = tensor.untyped_storage()._cdata
        self._numbers[key] = number

        def gone() -> None:
            del self._numbers[key]
            self._go(number)

        return gone

    def did(self, func: Any, args: Any, key: Any, out: Any) -> None:
        """As :class:`~fairtune.plan.phantom.Witness` says."""
        inside = inner_bytes(func, args)
        if inside:
            self._go(self._come(inside, self._term))
        self._work[key] += 1
        if key not in self._operations:
            self._operations[key] = operation(func, args, out)

    @contextlib.contextmanager
    def phase(self, phase: Phase, term: str = ACTIVATIONS) -> Iterator[None]:
        """While active, what happens belongs to the phase, and what comes to be to the term."""
        start = len(self.trace.events)
        self._phase = phase
        self._boundaries, self._tokens = [], 0
        self._work.clear()
        self.begin(term)
        yield
        self.trace.spans.append(Span(phase, start, len(self.trace.events)))

    def begin(self, term: str) -> None:
        """What comes to be from here on belongs to the term."""
        self._term = term

    def name(self, term: str, tensors: Iterable[torch.Tensor | None]) -> None:
        """Says of tensors that are there to which term they belong."""
        for tensor in tensors:
            number = None if tensor is None else self._numbers.get(tensor.data_ptr())
            if number is not None:
                self.trace.terms[number] = term

    def close_pass(self, name: str, tokens: int) -> None:
        """What was done since the last pass was closed is one pass, over so many tokens."""
        work: Counter[Operation] = Counter()
        for key, times in self._work.items():
            work[self._operations[key]] += times
        self._work = Counter()
        if work:
            self.passes.append(Pass(self._phase, name, tokens, work))

    def next_pass(self, tokens: int) -> None:
        """A forward pass over so many tokens begins, which ends what was before it."""
        self.close_pass("step", self._tokens)
        self._tokens = tokens
        self._boundaries.append(len(self.trace.events))
        if self._stretched is not None:
            self._go(self._stretched)
            self._stretched = None

    def stretch(self, size: int) -> None:
        """During this pass, so many bytes of cache more are there."""
        self._stretched = self._come(max(0, size), CACHE)

    def name_caches(self) -> None:
        """What a pass of the last phase made and a later one found is cache."""
        span = self.trace.spans[-1]
        made: dict[int, int] = {}
        ends = self._boundaries[1:]
        for place in range(span.start, span.end):
            event = self.trace.events[place]
            if event >= 0:
                made[event] = place
            elif ~event in made:
                self._name_if_kept(~event, made.pop(~event), place, ends)
        for number, place in made.items():
            self._name_if_kept(number, place, span.end, ends)

    def _name_if_kept(self, number: int, made: int, gone: int, boundaries: Sequence[int]) -> None:
        after = bisect.bisect_right(boundaries, made)
        if self.trace.terms[number] == ACTIVATIONS and after < len(boundaries) and boundaries[after] <= gone:
            self.trace.terms[number] = CACHE

    def _come(self, size: int, term: str) -> int:
        number = len(self.trace.sizes)
        self.trace.sizes.append(size)
        self.trace.terms.append(term)
        self.trace.events.append(number)
        self.live += size
        return number

    def _go(self, number: int) -> None:
        self.trace.events.append(~number)
        self.live -= self.trace.sizes[number]

    def _term_of(self, tensor: torch.Tensor) -> str:
        logits = tensor.dim() > 1 and tensor.shape[-1] == self._vocabulary
        return LOGITS if logits and self._term == ACTIVATIONS else self._term
