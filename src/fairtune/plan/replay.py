"""A trace replayed by an allocator: what each phase takes at its highest, and of what that is made."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from fairtune.plan.allocators.protocol import Allocator
from fairtune.plan.ledger import Trace
from fairtune.records import Phase


@dataclass(frozen=True)
class Peak:
    """The moment at which a phase takes most.

    Attributes:
        reserved: bytes that the allocator holds then.
        terms: bytes of the tensors that are there, by term.
    """

    reserved: int
    terms: dict[str, int]

    @property
    def beyond(self) -> int:
        """What the allocator holds beyond the tensors: rounding, and gaps between blocks."""
        return self.reserved - sum(self.terms.values())


class Exact:
    """An allocator that holds what it was asked for."""

    def __init__(self) -> None:
        self.reserved = 0
        self._sizes: dict[int, int] = {}
        self._next = 0

    def allocate(self, size: int) -> int:
        """As many bytes."""
        self._next += 1
        self._sizes[self._next] = size
        self.reserved += size
        return self._next

    def free(self, handle: int) -> None:
        """They are gone."""
        self.reserved -= self._sizes.pop(handle)

    def trim(self) -> None:
        """There is nothing to give back."""


def replay(trace: Trace, allocator: Allocator) -> dict[Phase, Peak]:
    """The peak of every phase. Between phases the allocator gives back what is free, as a run does."""
    starts = {span.start: span for span in trace.spans}
    ends = {span.end for span in trace.spans}
    handles: dict[int, int] = {}
    highest: dict[Phase, tuple[int, int]] = {}
    current = None
    for place, event in enumerate(trace.events):
        if place in ends:
            current = None
        if place in starts:
            current = starts[place].phase
            allocator.trim()
            highest[current] = (allocator.reserved, place)
        if event >= 0:
            handles[event] = allocator.allocate(trace.sizes[event])
        else:
            allocator.free(handles.pop(~event))
        if current is not None and allocator.reserved > highest[current][0]:
            highest[current] = (allocator.reserved, place + 1)
    return {phase: Peak(reserved, _terms(trace, place)) for phase, (reserved, place) in highest.items()}


def _terms(trace: Trace, place: int) -> dict[str, int]:
    """Bytes of what is there before the event at ``place``."""
    there: Counter[str] = Counter()
    for event in trace.events[:place]:
        number = event if event >= 0 else ~event
        there[trace.terms[number]] += trace.sizes[number] if event >= 0 else -trace.sizes[number]
    return {term: size for term, size in there.items() if size}
