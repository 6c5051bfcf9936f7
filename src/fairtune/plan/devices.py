"""Devices as data: what memory they have, how fast they compute, and where each figure is from.

``devices.yaml`` holds them; a new device is an entry there. Nothing here imports torch.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict

from fairtune.errors import SpecError, suggest
from fairtune.study.yaml_file import read_yaml
from fairtune.units import parse_bytes

Kind = Literal["cuda", "mps", "cpu"]
KINDS: tuple[Kind, ...] = ("cuda", "mps", "cpu")
DTYPES = ("fp32", "bf16", "fp16")
"""Number formats of matrix products that rates are known for."""

FIGURES = ("memory_bytes", *DTYPES, "bandwidth", "interconnect", "context_bytes", "achieved")
"""What a device has a source for; for a figure that is None the source says why."""

_FILE = Path(__file__).with_name("devices.yaml")


@dataclass(frozen=True)
class Device:
    """What a run may be planned for. A figure that is not known is None, and its source says why."""

    name: str
    title: str
    kind: Kind
    memory_bytes: int | None
    """What a process can have."""
    flops: Mapping[str, float | None] = field(hash=False)
    """Peak FLOP/s of dense matrix products, by number format."""
    bandwidth: float | None
    """Bytes/s of memory, reading and writing together."""
    interconnect: float | None
    """Bytes/s to another device, in one direction."""
    context_bytes: int | None
    """What a process holds of the device's memory before it makes a tensor."""
    achieved: float
    """Share of the peak that the matrix products of a training step reach."""
    sources: Mapping[str, str] = field(hash=False)
    """Where each of :data:`FIGURES` is from."""
    reported: str = ""
    """What the driver calls it: a regular expression."""

    def with_memory(self, memory_bytes: int, source: str = "as asked") -> Device:
        """The same device with another amount of memory."""
        return replace(self, memory_bytes=memory_bytes, sources={**self.sources, "memory_bytes": source})

    def as_json(self) -> dict[str, Any]:
        """What ``fairtune devices --json`` tells of it: bytes, FLOP/s, bytes/s."""
        return {
            "name": self.name,
            "title": self.title,
            "kind": self.kind,
            "memory_bytes": self.memory_bytes,
            "flops": dict(self.flops),
            "bandwidth": self.bandwidth,
            "interconnect": self.interconnect,
            "context_bytes": self.context_bytes,
            "achieved": self.achieved,
            "sources": dict(self.sources),
        }


class _Figure(NamedTuple):
    """A number as the file has it, and words on where it is from."""

    value: Any
    source: tuple[str, ...]


def _figure(written: Any) -> Any:
    return _Figure(written[0], tuple(written[1:])) if isinstance(written, list) else written


Figure = Annotated[_Figure, BeforeValidator(_figure)]
Share = tuple[int, int]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Whole(_Strict):
    title: str
    kind: Kind
    reported: str = ""
    memory: Figure
    fp32: Figure
    bf16: Figure
    fp16: Figure
    bandwidth: Figure
    interconnect: Figure
    achieved: Figure | None = None


class _Slice(_Strict):
    title: str
    slice_of: str
    reported: str
    memory: Figure
    multiprocessors: Share
    memory_slices: Share


class _Assumed(_Strict):
    achieved: Figure
    context: Figure


class _File(_Strict):
    assumed: _Assumed
    sources: dict[str, str]
    devices: dict[str, _Slice | _Whole]


class _Table(Mapping[str, Device]):
    """The devices of the file, read when first asked for."""

    def __getitem__(self, name: str) -> Device:
        return _load()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_load())

    def __len__(self) -> int:
        return len(_load())


DEVICES: Mapping[str, Device] = _Table()
"""Every device that has a profile, by name."""


def find_device(text: str) -> Device:
    """The device of a name (``rtx-4090``), or what is really there (``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``).

    Raises:
        SpecError: no device has that name; the message has the nearest.
        BudgetError: a kind of device is asked for that this machine does not have.
    """
    name = text.strip().lower()
    if name.partition(":")[0] in ("auto", *KINDS):
        from fairtune.plan.here import device_here  # with it comes torch

        return device_here(name)
    if name not in DEVICES:
        several = [known for known in DEVICES if name and known.startswith(name)]
        said = f"there are {', '.join(several)}" if several else suggest(name, [*DEVICES, "auto", "cuda", "mps"])
        raise SpecError(f"device '{text}': unknown; {said}")
    return DEVICES[name]


def reported_as(name: str) -> Device | None:
    """The profile of what a driver calls ``name``, such as ``NVIDIA A100-SXM4-80GB MIG 2g.20gb``."""
    return next((device for device in DEVICES.values() if device.reported and re.search(device.reported, name)), None)


@functools.cache
def _load() -> dict[str, Device]:
    file = _File.model_validate(read_yaml(_FILE))
    found: dict[str, Device] = {}
    for name, entry in file.devices.items():
        found[name] = _whole(name, entry, file) if isinstance(entry, _Whole) else _slice(name, entry, file, found)
    return found


def _whole(name: str, entry: _Whole, file: _File) -> Device:
    said = {kind: _words(getattr(entry, kind), file) for kind in (*DTYPES, "bandwidth", "interconnect")}
    achieved = entry.achieved or file.assumed.achieved
    context = file.assumed.context
    on_cpu = entry.kind == "cpu"
    return Device(
        name=name,
        title=entry.title,
        kind=entry.kind,
        memory_bytes=_bytes(entry.memory),
        flops={dtype: _number(getattr(entry, dtype)) for dtype in DTYPES},
        bandwidth=_number(entry.bandwidth),
        interconnect=_number(entry.interconnect),
        context_bytes=_bytes(context) if entry.kind == "cuda" else None,
        achieved=1.0 if on_cpu else float(achieved.value),
        sources={
            **said,
            "memory_bytes": _words(entry.memory, file),
            "context_bytes": _words(context, file) if entry.kind == "cuda" else "measured with the process itself",
            "achieved": "rates are measured, not peaks" if on_cpu else _words(achieved, file),
        },
        reported=entry.reported,
    )


def _slice(name: str, entry: _Slice, file: _File, found: Mapping[str, Device]) -> Device:
    """Its share of a whole device: multiprocessors for products, memory slices for bandwidth."""
    parent = found[entry.slice_of]
    products, memory = Fraction(*entry.multiprocessors), Fraction(*entry.memory_slices)
    of_products = f"{'/'.join(map(str, entry.multiprocessors))} of the multiprocessors of {parent.name}"
    of_memory = f"{'/'.join(map(str, entry.memory_slices))} of the memory slices of {parent.name}"
    return replace(
        parent,
        name=name,
        title=entry.title,
        memory_bytes=_bytes(entry.memory),
        flops={dtype: rate and rate * float(products) for dtype, rate in parent.flops.items()},
        bandwidth=parent.bandwidth and parent.bandwidth * float(memory),
        interconnect=None,
        sources={
            **parent.sources,
            **{dtype: f"{of_products}: {parent.sources[dtype]}" for dtype in DTYPES},
            "bandwidth": f"{of_memory}: {parent.sources['bandwidth']}",
            "memory_bytes": _words(entry.memory, file),
            "interconnect": file.sources["mig"],
        },
        reported=entry.reported,
    )


def _number(figure: _Figure) -> float | None:
    return None if figure.value is None else float(figure.value)


def _bytes(figure: _Figure) -> int | None:
    return None if figure.value is None else parse_bytes(figure.value)


def _words(figure: _Figure, file: _File) -> str:
    return "; ".join(file.sources.get(word, word) for word in figure.source)
