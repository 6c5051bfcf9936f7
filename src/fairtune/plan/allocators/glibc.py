"""malloc of Linux (glibc, "ptmalloc") as torch asks it for memory on the CPU: ``posix_memalign`` by 64 bytes, and free.

Two things make a process larger than what is alive in it. Blocks below a threshold lie in one heap, and what is free
between them stays resident. And the threshold is no constant: it rises to the size of every block that was mapped for
itself and is freed, up to 32 MiB; after a few steps of training nearly every block lies in the heap. There a block of
the same size rarely fits into the place of a former one: an aligned block is cut out of one that is 112 bytes larger,
and what is left over goes back. So places are kept to the byte here.

Follows ``malloc/malloc.c`` of glibc 2.26 and later: ``_int_memalign``, ``_int_malloc``, ``sysmalloc``, ``_int_free``,
``systrim``, ``mtrim``. One arena, one thread. Left out: the caches of tiny blocks (tcache, fast bins). A tiny piece is
joined with free neighbours at once; there it is at the next large request.
"""

from __future__ import annotations

from bisect import bisect_left, insort

from fairtune.plan.allocators.pages import Pages, whole

_KIB, _MIB = 2**10, 2**20
_HEADER = 16
_ALIGNMENT = 64
_SMALLEST = 32
_SLACK = _ALIGNMENT + _SMALLEST + _HEADER
"""What is asked for beyond an aligned block's own size."""
_SEARCHED = _SMALLEST + _SLACK
"""Free pieces from here up are searched: no request is smaller. Others wait for a neighbour to be freed."""
_THRESHOLD = 128 * _KIB
_LARGEST_THRESHOLD = 32 * _MIB
_TOP_PAD = 128 * _KIB
_TRIMS_FROM = 64 * _KIB
_HEAP = 1 << 40
_MAPPINGS = 1 << 50


class GlibcMalloc:
    """One heap, and the blocks that are mapped for themselves. All memory handed out is taken to be written to.

    Args:
        threshold: size in bytes from which on a block is mapped for itself if nothing free fits. A process begins with
            128 KiB; one that has freed large blocks has more.
        dynamic: whether it rises. It does not where ``MALLOC_MMAP_THRESHOLD_`` is set.
    """

    def __init__(self, threshold: int = _THRESHOLD, dynamic: bool = True) -> None:
        self.threshold = threshold
        self._dynamic = dynamic
        self._trim_threshold = 2 * threshold if dynamic and threshold > _THRESHOLD else _THRESHOLD
        self._pages = Pages(_HEAP)
        self._top = self._end = _HEAP  # from here to there is the free end of the heap
        self._used: dict[int, int] = {}  # begin of a block in the heap: its end
        self._mapped: dict[int, tuple[int, int]] = {}  # begin of a mapped block: its size there, its resident bytes
        self._mapped_bytes = 0
        self._next_mapping = _MAPPINGS
        self._free: dict[int, tuple[int, int, int]] = {}  # begin of a free piece: size, minus its turn, begin
        self._begins: dict[int, int] = {}  # end of a free piece: its begin
        self._search: list[tuple[int, int, int]] = []  # free pieces in order: of equal ones the last freed is first
        self._turn = 0

    @property
    def reserved(self) -> int:
        """Resident bytes."""
        return self._mapped_bytes + self._pages.resident

    def allocate(self, size: int) -> int:
        """A block of ``size`` bytes in the smallest free piece that is large enough, at the end, or mapped for itself.

        Returns:
            Its handle, 0 for a block of no bytes.
        """
        if not size:
            return 0
        need = max((size + 23) & -16, _SMALLEST)
        want = need + _SLACK
        place = bisect_left(self._search, (want,))
        if place < len(self._search):
            length, _, begin = self._search.pop(place)
            del self._free[begin], self._begins[begin + length]
            return self._cut(begin, begin + length, need)
        short = want + _SMALLEST - (self._end - self._top)
        if short > 0:
            if want >= self.threshold:
                return self._map(size, want)
            self._end += whole(short + _TOP_PAD)
        begin, self._top = self._top, self._end
        return self._cut(begin, self._end, need)

    def free(self, handle: int) -> None:
        """The block's bytes are free; those of a mapped one are no longer resident.

        Raises:
            KeyError: no block has this handle.
        """
        if not handle:
            return
        if handle >= _MAPPINGS:
            self._unmap(handle)
            return
        begin, end = self._give_back(handle, self._used.pop(handle))
        if end - begin >= _TRIMS_FROM and self._end - self._top >= self._trim_threshold:
            self._shorten(_TOP_PAD)

    def trim(self) -> None:
        """``malloc_trim(0)``: whole pages within free pieces go back, and the free end."""
        for length, _, begin in self._search:
            self._pages.drop(begin + 48, begin + length)
        self._shorten(0)

    def _cut(self, begin: int, end: int, need: int) -> int:
        """An aligned block from the free piece; the rest before and after it goes back."""
        whole_piece = end - begin < need + _SLACK + _SMALLEST
        taken = end if whole_piece else begin + need + _SLACK
        block = ((begin + _HEADER + _ALIGNMENT - 1) & -_ALIGNMENT) - _HEADER
        if begin < block < begin + _SMALLEST:
            block += _ALIGNMENT
        stop = block + need if taken - block > need + _SMALLEST else taken
        if begin < block:
            self._keep(begin, block)
        if end == self._top:
            self._top = stop
        elif stop < end:
            self._keep(stop, end)
        self._used[block] = stop
        self._pages.touch(begin, stop + _HEADER)
        return block

    def _give_back(self, begin: int, end: int) -> tuple[int, int]:
        """The piece is free, one with its free neighbours; gives what it has become."""
        before = self._begins.pop(begin, None)
        if before is not None:
            self._drop(self._free.pop(before))
            begin = before
        if end == self._top:
            self._top = begin
            return begin, self._end
        after = self._free.pop(end, None)
        if after is not None:
            self._drop(after)
            end += after[0]
            del self._begins[end]
        self._keep(begin, end)
        return begin, end

    def _keep(self, begin: int, end: int) -> None:
        self._turn += 1
        piece = (end - begin, -self._turn, begin)
        self._free[begin] = piece
        self._begins[end] = begin
        if piece[0] >= _SEARCHED:
            insort(self._search, piece)

    def _drop(self, piece: tuple[int, int, int]) -> None:
        if piece[0] >= _SEARCHED:
            del self._search[bisect_left(self._search, piece)]

    def _map(self, size: int, want: int) -> int:
        handle = self._next_mapping
        resident = whole(size + _ALIGNMENT)
        length = whole(want + _HEADER // 2)
        self._next_mapping += length
        self._mapped[handle] = length - (_ALIGNMENT - _HEADER), resident
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
        extra = (self._end - self._top - _SMALLEST - 1 - pad) & -4096
        if extra > 0:
            self._end -= extra
            self._pages.cut(self._end)
