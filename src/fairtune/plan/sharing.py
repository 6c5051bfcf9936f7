"""A training that several processes share: what each of them holds, and what they have to tell each other.

Passes are those of one process (plan/picks.py). What differs from a process alone is worked out, not simulated: with
``ddp`` a bucket of gradients lies there twice while it is summed; with ``fsdp`` (Rajbhandari et al. 2020, stage 3)
weights, gradients and optimizer state are divided, the layer that computes and the one that comes next are whole, and
so is what belongs to no layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fairtune.plan.ledger import ADAPTER, GRADIENTS, OPTIMIZER, WEIGHTS, Span, Trace
from fairtune.plan.simulate import Simulated
from fairtune.train.parallel.replicated import BUCKET_BYTES

_DIVIDED = {WEIGHTS, ADAPTER, GRADIENTS, OPTIMIZER}
_FP32 = 4


@dataclass(frozen=True)
class Sharing:
    """Who shares, and how.

    Attributes:
        bandwidth: bytes/s from one to another, in one direction; None if nobody knows.
    """

    strategy: str
    processes: int
    bandwidth: float | None


def shared_trace(found: Simulated, sharing: Sharing) -> Trace:
    """As one of the processes sees its training; loading, scoring and writing are done by one alone, whole."""
    train = next((span for span in found.trace.spans if span.phase == "train"), None)
    if train is None:
        return found.trace
    divided = sharing.strategy == "fsdp"
    beside = (
        2 * found.sizes.largest_layer + found.sizes.outside_layers
        if divided
        else min(BUCKET_BYTES, _FP32 * found.sizes.trainable)
    )
    return _with(found.trace, train, sharing.processes if divided else 1, beside)


def exchange_seconds(found: Simulated, sharing: Sharing) -> float | None:
    """Of an update with one pass in ``ddp``; of a pass in ``fsdp``. None where the bandwidth is not known.

    A ring sends ``(n - 1) / n`` of what is gathered or scattered, and twice that where all get the sum (Thakur et al.
    2005, "Optimization of Collective Communication Operations in MPICH").
    """
    if sharing.bandwidth is None:
        return None
    gradients = _FP32 * found.sizes.trainable
    ring = (sharing.processes - 1) / sharing.processes / sharing.bandwidth
    if sharing.strategy == "ddp":
        return 2 * gradients * ring
    return (2 * found.sizes.weights + gradients) * ring


def _with(trace: Trace, span: Span, divisor: int, beside: int) -> Trace:
    """The trace with a phase in which some terms are divided, and some bytes more are there.

    What was there before is exchanged for a share of it when the phase begins, and back when it ends.
    """
    sizes, terms = list(trace.sizes), list(trace.terms)
    inside = trace.events[span.start : span.end]
    there = _live(trace.events[: span.start]) - {~event for event in inside if event < 0}
    divided = sorted(number for number in there if terms[number] in _DIVIDED) if divisor > 1 else []
    for number in inside:
        if number >= 0 and terms[number] in _DIVIDED:
            sizes[number] //= divisor
    shares = range(len(sizes), len(sizes) + len(divided) + 1)
    sizes += [*(sizes[number] // divisor for number in divided), beside]
    terms += [*(terms[number] for number in divided), WEIGHTS]
    wholes = range(len(sizes), len(sizes) + len(divided))
    sizes += [sizes[number] for number in divided]
    terms += [terms[number] for number in divided]
    begin, end = [*(~number for number in divided), *shares], [*(~number for number in shares), *wholes]
    events = [*trace.events[: span.start], *begin, *inside, *end, *trace.events[span.end :]]
    return Trace(sizes, terms, events, [_moved(each, span, len(begin), len(end)) for each in trace.spans])


def _live(events: Sequence[int]) -> set[int]:
    found: set[int] = set()
    for event in events:
        found.add(event) if event >= 0 else found.discard(~event)
    return found


def _moved(each: Span, span: Span, begin: int, end: int) -> Span:
    """A span of the trace with so many events more where ``span`` begins and where it ends."""
    if each.start >= span.end:
        return replace(each, start=each.start + begin + end, end=each.end + begin + end)
    return replace(each, end=each.end + begin) if each == span else each
