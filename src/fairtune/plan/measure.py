"""This machine's processor, measured on the spot: a second, once for a processor, a number of threads and a torch.

A data sheet says little of a CPU: a product of few rows is bound by memory, bf16 may be slower than fp32, and what a
product costs depends on the library's kernels. So a product's time is read off products that were timed.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from fairtune.cache import recall, remember
from fairtune.models.device import device_name
from fairtune.plan.devices import DEVICES, DTYPES, Device

_VERSION = 1  # of what is remembered: another one measures anew
_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_ROWS = (1, 8, 32, 128, 512, 1024)
_WEIGHTS = ((192, 576), (1536, 576), (2048, 2048))
"""Outputs and inputs: those of a model of 135M parameters, and of one of 1B."""

_WIDTHS = (8, 32, 128, 512)
_TEXTS = ((128, 576), (1024, 576))
"""Tokens and their width, beside which an adapter is narrow."""

_POOL_BYTES = 128 * 2**20
"""Weights are used in turn, as a model's are, so that each comes from memory rather than from the cache."""

_LARGEST = {"fp32": 2.5e9, "bf16": 5e9, "fp16": 0.2e9}
"""Multiplications of the largest product that is timed: what is larger is taken to be as fast."""

_PATIENCE = 0.01
"""Seconds for the repetitions of one product."""

_STEADY = 0.9


@dataclass(frozen=True)
class Timed:
    """The rate of products whose smallest dimension is ``least``, and whose other two make so many elements.

    ``streamed``: few rows meet a weight that comes from memory. Otherwise the large matrix was there already, and the
    other one is narrow: an adapter, a gradient of few tokens, a head of attention.
    """

    dtype: str
    streamed: bool
    least: int
    elements: int
    flops: float


@dataclass(frozen=True)
class Rates:
    """How fast a processor was. Plain data: ``as_json`` and ``rates_from`` are each other's inverse."""

    processor: str
    threads: int
    torch_version: str
    products: tuple[Timed, ...]
    bandwidth: float
    """Bytes/s of a copy larger than the cache, reading and writing together."""
    overhead_seconds: float
    """Of a torch operation on next to nothing, without gradients."""
    steady: float
    """Share of the cores asked for that others left meanwhile. Below 0.9 the machine was busy: rates are too low."""

    @property
    def is_steady(self) -> bool:
        """Whether nobody disturbed."""
        return self.steady >= _STEADY

    def seconds_of_product(self, m: int, n: int, k: int, dtype: str) -> float:
        """Seconds of a matrix product (m, k) x (k, n), one call of torch with its overhead.

        Where m is the smallest, (k, n) is taken to be a weight, which comes from memory. Between the products that were
        timed the rate is interpolated, in logarithms of the smallest dimension and of the elements that the other two
        make; beyond them it is that of the nearest.

        Raises:
            KeyError: the number format was not timed.
        """
        least, *others = sorted((m, n, k))
        curves = self._curves[dtype, m == least]
        elements = others[0] * others[1]
        rate = _between([(size, _between(curve, least)) for size, curve in curves.items()], elements)
        return max(2.0 * m * n * k / rate, self.overhead_seconds)

    def highest(self, dtype: str) -> float | None:
        """The highest rate that was seen."""
        return max((timed.flops for timed in self.products if timed.dtype == dtype), default=None)

    @functools.cached_property
    def _curves(self) -> dict[tuple[str, bool], dict[int, list[tuple[int, float]]]]:
        found: dict[tuple[str, bool], dict[int, list[tuple[int, float]]]] = {}
        for timed in sorted(self.products, key=lambda timed: (timed.elements, timed.least)):
            curves = found.setdefault((timed.dtype, timed.streamed), {})
            curves.setdefault(timed.elements, []).append((timed.least, timed.flops))
        return found

    def as_json(self) -> dict[str, Any]:
        """Fields by name."""
        return asdict(self)


def rates_from(fields: Mapping[str, Any]) -> Rates:
    """Rates as ``as_json`` wrote them."""
    return Rates(**{**fields, "products": tuple(Timed(**timed) for timed in fields["products"])})


def measure_cpu(threads: int | None = None, again: bool = False) -> Rates:
    """Rates of this machine's processor: those remembered, or measured now, which takes a second or two.

    What was measured while others kept the machine busy is given, and not remembered.

    Args:
        threads: how many torch computes with; as it does now unless said otherwise.
        again: measure in any case.
    """
    known = None if again else known_rates(threads)
    if known is not None:
        return known
    found = _measured(threads or torch.get_num_threads())
    if found.is_steady:
        keep_rates(found)
    return found


def known_rates(threads: int | None = None) -> Rates | None:
    """What is remembered of this processor, if it was measured before."""
    text = recall("rates", _key(threads or torch.get_num_threads()))
    return rates_from(json.loads(text)) if text else None


def keep_rates(rates: Rates) -> None:
    """Remembers rates in the user's cache, for the processor, threads and torch that they were measured with."""
    remember("rates", _key(rates.threads), json.dumps(rates.as_json()))


def this_cpu(rates: Rates | None = None) -> Device:
    """This machine's processor, with the memory that a process can have.

    Args:
        rates: how fast it is; otherwise what is remembered, and no rates at all where nothing is.
    """
    memory, source = _memory()
    device = replace(DEVICES["cpu"], title=_processor()).with_memory(memory, source)
    rates = rates or known_rates()
    if rates is None:
        return device
    said = f"measured here, {rates.threads} of its threads, torch {rates.torch_version}"
    highest = {dtype: rates.highest(dtype) for dtype in DTYPES}
    sources = {**dict.fromkeys(DTYPES, f"{said}: the fastest product"), "bandwidth": f"{said}: a large copy"}
    return replace(device, flops=highest, bandwidth=rates.bandwidth, sources={**device.sources, **sources})


def _processor() -> str:
    return device_name(torch.device("cpu"))


def _key(threads: int) -> str:
    return f"{_VERSION}|{_processor()}|{threads}|{torch.__version__}"


def _memory() -> tuple[int, str]:
    """Bytes that this process can have at most, and how that is known."""
    total = psutil.virtual_memory().total
    limit = _group_limit()
    if limit is not None and limit < total:
        return limit, "limit of the control group that this process is in"
    return total, "all memory of this machine, without swap"


def _group_limit(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int | None:
    """The lowest memory limit of the control groups (version 2) that this process is in."""
    if not own.exists():
        return None
    lines = own.read_text(encoding="utf-8").splitlines()
    place = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), None)
    if place is None:
        return None
    folders = [root / place, *(root / place).parents]
    files = [folder / "memory.max" for folder in folders if folder.is_relative_to(root)]
    limits = [file.read_text(encoding="utf-8").strip() for file in files if file.exists()]
    return min((int(limit) for limit in limits if limit.isdecimal()), default=None)


@torch.no_grad()
def _measured(threads: int) -> Rates:
    with _threads(threads):
        pool = torch.full((_POOL_BYTES,), 0x3C, dtype=torch.uint8)  # 0.0115 in fp32 and bf16, 1.06 in fp16
        psutil.cpu_percent()  # the next call tells of the time since this one
        started, used = time.perf_counter(), time.process_time()
        products = tuple(timed for dtype in DTYPES for timed in _products(dtype, pool))
        bandwidth = _bandwidth(pool)
        overhead = _overhead()
        own = (time.process_time() - used) / (time.perf_counter() - started)
        steady = _share_left(psutil.cpu_percent() / 100, own, psutil.cpu_count() or 1, threads)
    return Rates(_processor(), threads, str(torch.__version__), products, bandwidth, overhead, steady)


def _share_left(busy: float, own: float, cores: int, threads: int) -> float:
    """Share of the wanted cores that others left.

    Args:
        busy: share of all cores that worked.
        own: cores that worked for this process.
    """
    others = busy * cores - own
    return max(0.0, min(1.0, (cores - others) / threads))


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _products(dtype: str, pool: torch.Tensor) -> Iterator[Timed]:
    numbers = pool.view(_TYPES[dtype])
    for outputs, inputs in _WEIGHTS:
        weights = numbers.unfold(0, outputs * inputs, outputs * inputs).view(-1, outputs, inputs).unbind()
        for rows in _ROWS:
            if rows <= min(outputs, inputs) and rows * outputs * inputs <= _LARGEST[dtype]:
                yield Timed(dtype, True, rows, outputs * inputs, _flops(_matrix(numbers, rows, inputs), weights))
    for tokens, inputs in _TEXTS:
        texts = _matrix(numbers, tokens, inputs)
        for outputs in _WIDTHS:
            if outputs <= min(tokens, inputs) and outputs * tokens * inputs <= _LARGEST[dtype]:
                narrow = [_matrix(numbers, outputs, inputs)]
                yield Timed(dtype, False, outputs, tokens * inputs, _flops(texts, narrow))


def _matrix(numbers: torch.Tensor, rows: int, width: int) -> torch.Tensor:
    return numbers[: rows * width].view(rows, width).clone()


def _flops(texts: torch.Tensor, weights: Sequence[torch.Tensor]) -> float:
    """FLOP/s of texts times weights, which are used in turn."""
    turn = itertools.cycle(weights)
    seconds = _seconds(lambda: torch.nn.functional.linear(texts, next(turn)))
    return 2.0 * texts.numel() * len(weights[0]) / seconds


def _bandwidth(pool: torch.Tensor) -> float:
    source, target = pool.chunk(2)
    return 2.0 * source.nbytes / _seconds(lambda: target.copy_(source), patience=0.1)


def _overhead() -> float:
    tiny = torch.ones(8)
    calls = 200

    def many() -> None:
        for _ in range(calls):
            torch.add(tiny, 1.0)

    return _seconds(many) / calls


def _seconds(work: Callable[[], object], patience: float = _PATIENCE) -> float:
    """Seconds of the faster quarter's slowest repetition, after one that warms up.

    Not the fastest: that one found its weight in the cache. Not the mean: others work on the machine too.
    """
    work()
    ended = time.perf_counter() + patience
    taken: list[float] = []
    while not taken or time.perf_counter() < ended:
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return sorted(taken)[len(taken) // 4]


def _between(points: list[tuple[int, float]], at: int) -> float:
    """The value at a place between points that are in order, straight in logarithms; at the ends as there."""
    places = [math.log(place) for place, _ in points]
    values = [math.log(value) for _, value in points]
    return math.exp(float(np.interp(math.log(at), places, values)))
