"""How long a pass takes: of every operation what is more, its products or what it moves (Williams et al. 2009)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from fairtune.plan.devices import Device
from fairtune.plan.ledger import Pass
from fairtune.plan.measure import Rates
from fairtune.plan.operations import Operation

_NAMES: Mapping[torch.dtype, str] = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}
# What launching a kernel costs where the device is not waited for: CUDA's own figure is a few microseconds.
_LAUNCH_SECONDS = 5e-6


class Clock(Protocol):
    """Knows how long operations take on a device."""

    def seconds(self, operation: Operation) -> float:
        """Of one operation."""


@dataclass(frozen=True)
class MeasuredClock:
    """A processor whose rates were measured."""

    rates: Rates

    def seconds(self, operation: Operation) -> float:
        """Products at the rate of their shape; everything else as fast as memory is, after what a call costs."""
        overhead = self.rates.overhead_seconds
        moving = overhead + operation.moved / self.rates.bandwidth
        if not operation.flops:
            return moving
        name = _NAMES.get(operation.type, "fp32")
        if operation.shape is None:
            return max(
                moving, overhead + operation.flops / (self.rates.highest(name) or self.rates.highest("fp32") or 1)
            )
        batch, m, n, k = operation.shape
        return max(batch * (self.rates.seconds_of_product(m, n, k, name) - overhead) + overhead, overhead)


@dataclass(frozen=True)
class StatedClock:
    """A device known by its data sheet."""

    device: Device

    def seconds(self, operation: Operation) -> float:
        """Products at the share of the peak that training reaches, or what is moved, whichever is more.

        Raises:
            KeyError: nobody states the rate of this type.
        """
        moving = operation.moved / self.device.bandwidth if self.device.bandwidth else 0.0
        return max(_LAUNCH_SECONDS, moving, self._products(operation))

    def _products(self, operation: Operation) -> float:
        if not operation.flops:
            return 0.0
        name = _NAMES.get(operation.type, "fp32")
        peak = self.device.flops.get(name)
        if peak is None:
            raise KeyError(name)
        return operation.flops / (peak * self.device.achieved)


def seconds_of(found: Pass, clock: Clock) -> float:
    """Of a pass, whose operations follow one another."""
    return sum(times * clock.seconds(operation) for operation, times in found.work.items())


def seconds_of_all(known: Sequence[tuple[int, float]], tokens: Sequence[int]) -> float:
    """Of passes over so many tokens each, by those that are known: ``(tokens, seconds)`` of two, or of one twice.

    A pass costs something however small it is, and then as much for each token.
    """
    (few, short), (many, long) = min(known), max(known)
    if many - few < max(1, many // 8):  # too near to tell one from the other
        return sum(tokens) * long / many
    slope = max(0.0, (long - short) / (many - few))
    return sum(max(0.0, short + slope * (each - few)) for each in tokens)
