"""The free pieces of a heap that are joined with their free neighbours, searched in ptmalloc's order.

What is freed first lies in one unsorted list. The next request goes through it, oldest first: a piece of exactly the
size asked for is taken, the others are sorted by size. Then the smallest sorted piece that is large enough is taken.
"""

from __future__ import annotations

from bisect import bisect_left, insort

LARGE = 1024
"""Pieces from this size on, in bytes, share a bin with other sizes."""


class Pieces:
    """Free pieces by begin, by end and by size, all in bytes."""

    def __init__(self) -> None:
        self.sizes: dict[int, int] = {}
        self.unsorted: dict[int, None] = {}
        self._begins: dict[int, int] = {}  # end of a piece: its begin
        self._sorted: dict[int, list[int]] = {}  # size: begins, in the order of ptmalloc's list
        self._known: list[int] = []  # sizes with a sorted piece, in order

    def add(self, begin: int, size: int) -> None:
        """A new free piece, unsorted."""
        self.sizes[begin] = size
        self._begins[begin + size] = begin
        self.unsorted[begin] = None

    def remove(self, begin: int) -> int:
        """The piece is no longer free; gives its size."""
        size = self.sizes.pop(begin)
        del self._begins[begin + size]
        if begin in self.unsorted:
            del self.unsorted[begin]
            return size
        equal = self._sorted[size]
        if len(equal) > 1:
            equal.remove(begin)
        else:
            del self._sorted[size], self._known[bisect_left(self._known, size)]
        return size

    def joined(self, begin: int, end: int) -> tuple[int, int]:
        """Begin and end of this piece with its free neighbours, which are removed."""
        before = self._begins.get(begin)
        if before is not None:
            self.remove(before)
            begin = before
        if end in self.sizes:
            end += self.remove(end)
        return begin, end

    def sort(self, begin: int) -> None:
        """An unsorted piece takes its place among those of its size.

        Small ones queue up. Of large ones the first stays at the head, to be taken last; of the others the newest is
        taken first.
        """
        del self.unsorted[begin]
        size = self.sizes[begin]
        equal = self._sorted.get(size)
        if equal is None:
            self._sorted[size] = [begin]
            insort(self._known, size)
        else:
            equal.insert(0 if size < LARGE else 1, begin)

    def oldest(self, size: int) -> int | None:
        """The sorted piece of exactly this size that has waited longest."""
        equal = self._sorted.get(size)
        return equal[-1] if equal else None

    def smallest(self, need: int) -> int | None:
        """The sorted piece to be taken for so many bytes."""
        place = bisect_left(self._known, need)
        if place == len(self._known):
            return None
        size = self._known[place]
        equal = self._sorted[size]
        if len(equal) > 1 and need >= LARGE and _bin(size) == _bin(need):
            return equal[1]
        return equal[-1]


_STEPS = ((6, 48, 48), (9, 20, 91), (12, 10, 110), (15, 4, 119), (18, 2, 124))
"""Width of a bin as a power of two, the last bin of that width, the number of the first."""


def _bin(size: int) -> int:
    """The number of the bin in which large pieces of this size lie."""
    for shift, last, first in _STEPS:
        if size >> shift <= last:
            return first + (size >> shift)
    return 126
