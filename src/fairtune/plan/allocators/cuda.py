"""torch's caching allocator for CUDA, without a device.

What it does is read off ``c10/cuda/CUDACachingAllocator.cpp`` and ``c10/core/AllocatorConfig.h`` of torch 2.13, with
the settings that it has when nobody sets ``PYTORCH_ALLOC_CONF``: no expandable segments, blocks of every size may be
split, no rounding to fractions of a power of two, no garbage collection.

* A request is rounded up to 512 B. Up to 1 MiB it is served from the pool of small blocks, above it from that of
  large ones; the two never share memory.
* The smallest free block that is large enough is taken, of equal ones that of the lowest address. Its rest is split off
  and stays free: in the small pool whenever there is one, in the large pool only if it is more than 1 MiB.
* Where none is large enough the driver is asked for a segment: 2 MiB for a small request, 20 MiB for one below 10 MiB,
  else the request rounded up to 2 MiB, which is also the driver's own grain: nothing is lost to it.
* A block that is freed merges with free neighbours of its segment. Segments stay, until the cache is emptied or a
  segment cannot be had; then those that are wholly free go back, and the segment is asked for once more.

There is one stream. On a device a block serves only the stream that it was made on, and one that a further stream used
(``record_stream``) is free only when that stream has done its work. Training in one process uses one stream; sharded
training (FSDP) uses several, and then holds more than is found here. Nor are there the pools of CUDA graphs.

One thing is the driver's to choose, and taken to be so here: a later segment lies at a higher address. It matters only
between free blocks of equal size.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left, insort
from dataclasses import dataclass

from fairtune.units import format_bytes

CUBLAS_WORKSPACE = 8_519_680
"""Bytes that cuBLAS takes of the allocator for each thread, from the first product on: two of 4,096 KiB and eight
of 16 (torch 2.13, aten/src/ATen/cuda/CublasHandlePool.cpp). On Hopper 32 MiB."""

_MIB = 2**20
_GRAIN = 512
_LARGEST_SMALL = _MIB
_SMALL_SEGMENT = 2 * _MIB
_LEAST_OWN_SEGMENT = 10 * _MIB
_SHARED_SEGMENT = 20 * _MIB
_SEGMENT_GRAIN = 2 * _MIB


class OutOfMemory(Exception):  # noqa: N818 - not a fault of the request: what a device of this size would answer
    """A segment cannot be had although all that is wholly free was given back.

    Attributes:
        wanted: bytes of the segment.
        reserved: bytes held, of which ``allocated`` bytes are in use; the rest lies between blocks in use.
        limit: bytes that may be held.
    """

    def __init__(self, wanted: int, reserved: int, allocated: int, limit: int) -> None:
        self.wanted, self.reserved, self.allocated, self.limit = wanted, reserved, allocated, limit
        held = f"{format_bytes(reserved)} of {format_bytes(limit)} are held, {format_bytes(allocated)} of them in use"
        super().__init__(f"{format_bytes(wanted)} more cannot be had: {held}")


@dataclass(frozen=True)
class Span:
    """A block as it lies in its segment: bytes from ``address`` on. ``handle`` is None where it is free."""

    address: int
    size: int
    handle: int | None


class CudaCachingAllocator:
    """An :class:`~fairtune.plan.allocators.protocol.Allocator` that holds what torch would hold on a CUDA device.

    ``reserved`` is ``torch.cuda.memory_reserved``; ``allocated`` is ``torch.cuda.memory_allocated``: bytes given out,
    after rounding and with rests that were too small to be split off.

    Args:
        limit: bytes that may be held at most: the device's memory without what its context and others take. None: no
            end to it.
    """

    def __init__(self, limit: int | None = None) -> None:
        if limit is not None and limit <= 0:
            raise ValueError(f"a limit of {limit} bytes; it is 1 or more, or None for no limit")
        self.reserved = 0
        self.allocated = 0
        self._limit = limit
        self._small = _Pool(least_rest=_GRAIN)
        self._large = _Pool(least_rest=_LARGEST_SMALL + 1)
        self._handles = itertools.count()
        self._in_use: dict[int, _Block | None] = {}
        self._segments: dict[int, _Block] = {}
        self._next_address = 0

    def allocate(self, size: int) -> int:
        """A handle for a block of ``size`` bytes; nothing lies behind one of 0 bytes.

        Raises:
            OutOfMemory: the limit does not allow it. Free segments are gone then, all else is as before.
            ValueError: ``size`` is negative.
        """
        if size < 0:
            raise ValueError(f"{size} bytes are asked for; 0 or more can be had")
        handle = next(self._handles)
        self._in_use[handle] = self._take(size, handle) if size else None
        return handle

    def free(self, handle: int) -> None:
        """Takes a block back and keeps it for a later request.

        Raises:
            ValueError: the handle is not that of a block in use.
        """
        if handle not in self._in_use:
            raise ValueError(f"no block in use has the handle {handle}: it was freed before, or never given out here")
        block = self._in_use.pop(handle)
        if block is not None:
            self.allocated -= block.size
            block.handle = None
            block.pool.add(block.merged())

    def trim(self) -> None:
        """``torch.cuda.empty_cache``: gives back the segments that are wholly free."""
        for first in [first for first in self._segments.values() if first.handle is None and first.after is None]:
            first.pool.remove(first)
            del self._segments[first.address]
            self.reserved -= first.size

    def snapshot(self) -> list[list[Span]]:
        """Every segment with its blocks, both by address: what ``torch.cuda.memory_snapshot`` tells."""
        return [first.spans() for first in self._segments.values()]

    def _take(self, size: int, handle: int) -> _Block:
        size = _rounded_up(size, _GRAIN)
        pool = self._small if size <= _LARGEST_SMALL else self._large
        block = pool.best_fit(size)
        if block is None:
            block = self._new_segment(_segment_size(size), pool)
        if block.size - size >= pool.least_rest:
            pool.add(block.split(size))
        block.handle = handle
        self.allocated += block.size
        return block

    def _new_segment(self, size: int, pool: _Pool) -> _Block:
        if self._limit is not None and self.reserved + size > self._limit:
            self.trim()
            if self.reserved + size > self._limit:
                raise OutOfMemory(size, self.reserved, self.allocated, self._limit)
        first = _Block(pool, self._next_address, size)
        self._next_address += size
        self._segments[first.address] = first
        self.reserved += size
        return first


class _Block:
    """A part of a segment, free or in use, with its neighbours there. The first one of a segment stays the first."""

    __slots__ = ("address", "after", "before", "handle", "pool", "size")

    def __init__(self, pool: _Pool, address: int, size: int) -> None:
        self.pool = pool
        self.address = address
        self.size = size
        self.handle: int | None = None
        self.before: _Block | None = None
        self.after: _Block | None = None

    def split(self, size: int) -> _Block:
        """Keeps ``size`` bytes; gives the rest as a block of its own."""
        rest = _Block(self.pool, self.address + size, self.size - size)
        self.size = size
        rest.before, rest.after = self, self.after
        if rest.after is not None:
            rest.after.before = rest
        self.after = rest
        return rest

    def merged(self) -> _Block:
        """This free block together with its free neighbours, which leave their pool for it."""
        before, after = self.before, self.after
        if after is not None and after.handle is None:
            self.pool.remove(after)
            self._absorb(after)
        if before is not None and before.handle is None:
            self.pool.remove(before)
            before._absorb(self)
            return before
        return self

    def spans(self) -> list[Span]:
        """This block and all after it."""
        spans = []
        block: _Block | None = self
        while block is not None:
            spans.append(Span(block.address, block.size, block.handle))
            block = block.after
        return spans

    def _absorb(self, after: _Block) -> None:
        self.size += after.size
        self.after = after.after
        if self.after is not None:
            self.after.before = self


class _Pool:
    """The free blocks of one kind, by size and then by address.

    A sorted list: taking out of its middle moves memory, but for the thousands of blocks of a large model that is less
    than a microsecond.
    """

    def __init__(self, least_rest: int) -> None:
        self.least_rest = least_rest
        self._order: list[tuple[int, int]] = []
        self._blocks: dict[int, _Block] = {}

    def add(self, block: _Block) -> None:
        insort(self._order, (block.size, block.address))
        self._blocks[block.address] = block

    def remove(self, block: _Block) -> None:
        del self._order[bisect_left(self._order, (block.size, block.address))]
        del self._blocks[block.address]

    def best_fit(self, size: int) -> _Block | None:
        """The smallest block of at least ``size`` bytes, which is then no longer here."""
        place = bisect_left(self._order, (size, 0))
        if place == len(self._order):
            return None
        return self._blocks.pop(self._order.pop(place)[1])


def _rounded_up(size: int, grain: int) -> int:
    return -(-size // grain) * grain


def _segment_size(size: int) -> int:
    if size <= _LARGEST_SMALL:
        return _SMALL_SEGMENT
    return _SHARED_SEGMENT if size < _LEAST_OWN_SEGMENT else _rounded_up(size, _SEGMENT_GRAIN)
