"""malloc of Linux (glibc, "ptmalloc") as torch asks it for memory on the CPU: ``posix_memalign`` by 64 bytes, and free.

Two things make a process larger than what is alive in it. Blocks below a threshold lie in one heap, and what is free
between them stays resident. And the threshold is no constant: it rises to the size of every block that was mapped for
itself and is freed, up to 32 MiB; after a step of training nearly every block lies in the heap. There a block seldom
fits into the place of a former one of its size: an aligned block is cut out of one that is 112 bytes larger, and what
is left over goes back. Hence whether small pieces between large ones are free decides over hundreds of megabytes, and
places are kept to the byte here.

Follows ``malloc/malloc.c`` of glibc 2.36 (``_int_memalign``, ``_int_malloc``, ``sysmalloc``, ``_int_free``,
``malloc_consolidate``, ``systrim``, ``mtrim``): one arena, one thread.
"""

from __future__ import annotations

from fairtune.plan.allocators.pages import PAGE, Pages, whole
from fairtune.plan.allocators.pieces import LARGE, Pieces

_KIB, _MIB = 2**10, 2**20
_HEADER = 16
_ALIGNMENT = 64
_SMALLEST = 32
_SLACK = _ALIGNMENT + _SMALLEST + _HEADER
"""What is asked for beyond an aligned block's own size."""
_CACHED = 1040
_CACHED_EACH = 7
"""Up to that size, so many freed pieces of each size are kept as they are for the next request (tcache)."""
_FAST = 128
"""Up to this size the others are kept as they are until the next large request (fast bins)."""
_THRESHOLD = 128 * _KIB
_LARGEST_THRESHOLD = 32 * _MIB
_TOP_PAD = 128 * _KIB
_TIDIES_FROM = 64 * _KIB
_HEAP = 1 << 40
_MAPPINGS = 1 << 50


class GlibcMalloc:
    """One heap, and the blocks that are mapped for themselves. All memory handed out is taken to be written to.

    Args:
        threshold: size in bytes from which on a block is mapped for itself if nothing free fits. A process begins with
            128 KiB; one that has freed large blocks has more.
        dynamic: whether it rises. It does not where ``MALLOC_MMAP_THRESHOLD_`` is set.
        caches: whether small freed pieces are kept apart, as glibc does by default; a run has none (execute/heap.py).
    """

    def __init__(self, threshold: int = _THRESHOLD, dynamic: bool = True, caches: bool = False) -> None:
        self.threshold = threshold
        self._each, self._fast_up_to = (_CACHED_EACH, _FAST) if caches else (0, 0)
        self._dynamic = dynamic
        self._trim_threshold = 2 * threshold if dynamic and threshold > _THRESHOLD else _THRESHOLD
        self._pages = Pages(_HEAP)
        self._top = self._end = _HEAP  # from here to there is the free end of the heap
        self._used: dict[int, int] = {}  # begin of a block in the heap: its end
        self._mapped: dict[int, tuple[int, int]] = {}  # a mapped block: its size for the threshold, resident bytes
        self._mapped_bytes = 0
        self._next_mapping = _MAPPINGS
        self._free = Pieces()
        self._cache: dict[int, list[int]] = {size: [] for size in range(_SMALLEST, _CACHED + 1, 16)}
        self._fast: dict[int, list[int]] = {size: [] for size in range(_SMALLEST, _FAST + 1, 16)}
        self._any_fast = False
        self._remainder = 0  # of the last small request that was cut from a larger piece
        self.small(640)  # the table of what is cached

    @property
    def reserved(self) -> int:
        """Resident bytes."""
        return self._mapped_bytes + self._pages.resident

    def allocate(self, size: int) -> int:
        """An aligned block of ``size`` bytes; gives its handle, 0 for a block of no bytes."""
        if not size:
            return 0
        need = _chunk(size)
        found = self._take(need + _SLACK)
        return self._aligned(*found, need) if found else self._map(size, need + _SLACK, _ALIGNMENT)

    def small(self, size: int) -> int:
        """A block of ``size`` bytes as ``malloc`` gives it, for objects rather than numbers; gives its handle."""
        need = _chunk(size)
        if need <= _CACHED and self._cache[need]:
            begin = self._cache[need].pop()
            self._used[begin] = begin + need
            return begin
        found = self._take(need)
        if found is None:
            return self._map(size, need, _HEADER)
        begin, self._used[found[0]] = found
        self._pages.touch(begin, found[1] + _HEADER)
        return begin

    def free(self, handle: int) -> None:
        """The block's bytes are free; those of a mapped one are no longer resident.

        Raises:
            KeyError: no block has this handle.
        """
        if handle >= _MAPPINGS:
            self._unmap(handle)
        elif handle:
            self._give_back(handle, self._used.pop(handle))

    def trim(self) -> None:
        """``malloc_trim(0)``: whole pages within free pieces go back, and the free end."""
        self._consolidate()
        for begin, size in self._free.sizes.items():
            self._pages.drop(begin + 48, begin + size)
        self._shorten(0)

    def _aligned(self, begin: int, end: int, need: int) -> int:
        """The aligned block within a piece that was taken; what is before and after it goes back."""
        self._pages.touch(begin, end + _HEADER)
        block = ((begin + _HEADER + _ALIGNMENT - 1) & -_ALIGNMENT) - _HEADER
        if begin < block < begin + _SMALLEST:
            block += _ALIGNMENT
        if begin < block:
            self._give_back(begin, block)
        if end - block > need + _SMALLEST:
            self._give_back(block + need, end)
            end = block + need
        self._used[block] = end
        return block

    def _take(self, need: int) -> tuple[int, int] | None:
        """Begin and end of a piece of ``need`` bytes or up to 16 more; None if it is to be mapped for itself."""
        if need < LARGE:
            begin = self._kept(need)
            if begin is not None:
                return begin, begin + need
        else:
            self._consolidate()
        while True:
            found = self._searched(need)
            if found is not None:
                return found
            if self._end - self._top < need + _SMALLEST:
                if self._any_fast:
                    self._consolidate()
                    continue
                if need >= self.threshold:
                    return None
                self._end += whole(need + _TOP_PAD + _SMALLEST - (self._end - self._top))
            begin, self._top = self._top, self._top + need
            return begin, self._top

    def _kept(self, need: int) -> int | None:
        """A small piece of exactly this size; more of them go into the cache at the same time."""
        fast = self._fast.get(need)
        if fast:
            begin = fast.pop()
            cache = self._cache[need]
            while fast and len(cache) < self._each:
                cache.append(fast.pop())
            return begin
        found = self._free.oldest(need)
        if found is None:
            return None
        self._free.remove(found)
        cache = self._cache[need]
        while len(cache) < self._each and (another := self._free.oldest(need)) is not None:
            self._free.remove(another)
            cache.append(another)
        return found

    def _searched(self, need: int) -> tuple[int, int] | None:
        """The free piece that fits best, cut to size."""
        free = self._free
        cached = 0
        for begin in list(free.unsorted):
            size = free.sizes[begin]
            if need < LARGE and begin == self._remainder and len(free.unsorted) == 1 and size > need + _SMALLEST:
                return self._cut(begin, need)
            if size != need:
                free.sort(begin)
                continue
            free.remove(begin)
            if need > _CACHED or len(self._cache[need]) == self._each:
                return begin, begin + need
            self._cache[need].append(begin)
            cached += 1
        if cached:
            begin = self._cache[need].pop()
            return begin, begin + need
        best = free.smallest(need)
        return None if best is None else self._cut(best, need)

    def _cut(self, begin: int, need: int) -> tuple[int, int]:
        """The first bytes of a free piece; the rest stays free if it is large enough to be a piece."""
        size = self._free.remove(begin)
        if size - need < _SMALLEST:
            return begin, begin + size
        self._free.add(begin + need, size - need)
        if need < LARGE:
            self._remainder = begin + need
        return begin, begin + need

    def _give_back(self, begin: int, end: int) -> None:
        size = end - begin
        if size <= _CACHED and len(self._cache[size]) < self._each:
            self._cache[size].append(begin)
        elif size <= self._fast_up_to:
            self._fast[size].append(begin)
            self._any_fast = True
        elif self._join(begin, end) >= _TIDIES_FROM:
            self._consolidate()
            if self._end - self._top >= self._trim_threshold:
                self._shorten(_TOP_PAD)

    def _join(self, begin: int, end: int) -> int:
        """The piece is free, one with its free neighbours; gives the size of what it has become."""
        begin, end = self._free.joined(begin, end)
        if end == self._top:
            self._top = begin
            return self._end - begin
        self._free.add(begin, end - begin)
        return end - begin

    def _consolidate(self) -> None:
        """Small pieces that were kept as they are, but for the cache's, are joined with their neighbours."""
        if not self._any_fast:
            return
        self._any_fast = False
        for size, begins in self._fast.items():
            while begins:
                begin = begins.pop()
                self._join(begin, begin + size)

    def _map(self, size: int, need: int, alignment: int) -> int:
        handle = self._next_mapping
        length = whole(need + _HEADER // 2)
        resident = whole(size + alignment)
        self._next_mapping += length
        self._mapped[handle] = length - (alignment - _HEADER), resident
        self._mapped_bytes += resident
        return handle

    def _unmap(self, handle: int) -> None:
        size, resident = self._mapped.pop(handle)
        self._mapped_bytes -= resident
        if self._dynamic and self.threshold <= size <= _LARGEST_THRESHOLD:
            self.threshold = size
            self._trim_threshold = 2 * size

    def _shorten(self, pad: int) -> None:
        """The free end goes back but for ``pad`` bytes and what completes a page."""
        extra = (self._end - self._top - _SMALLEST - 1 - pad) & -PAGE
        if extra > 0:
            self._end -= extra
            self._pages.cut(self._end)


def _chunk(size: int) -> int:
    """What a request of ``size`` bytes takes in the heap: 8 bytes more, in steps of 16."""
    return max((size + 23) & -16, _SMALLEST)
