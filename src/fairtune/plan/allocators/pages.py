"""Which pages of a heap are resident: those that were written to and have not been given back."""

from __future__ import annotations

from bisect import bisect_right

PAGE = 4096
"""Bytes."""


def whole(size: int) -> int:
    """``size`` in whole pages, in bytes."""
    return (size + PAGE - 1) & -PAGE


class Pages:
    """The pages from ``begin`` up, in bytes. Nothing is resident at first."""

    def __init__(self, begin: int) -> None:
        self._begin = begin
        self._fresh = begin  # from here up nothing has been written to
        self._gaps: list[tuple[int, int]] = []  # given back, below that; in order, apart from one another
        self._missing = 0

    @property
    def resident(self) -> int:
        """Bytes."""
        return self._fresh - self._begin - self._missing

    def touch(self, begin: int, end: int) -> None:
        """The bytes from ``begin`` to ``end`` are written to."""
        if self._gaps and begin < self._fresh:
            self._fill(begin & -PAGE, whole(end))
        if end > self._fresh:
            if begin >= self._fresh + PAGE:
                self._open(self._fresh, begin & -PAGE)
            self._fresh = whole(end)

    def drop(self, begin: int, end: int) -> None:
        """The whole pages between go back."""
        begin, end = whole(begin), min(end & -PAGE, self._fresh)
        if begin < end:
            self._fill(begin, end)
            self._open(begin, end)

    def cut(self, end: int) -> None:
        """The heap ends here now."""
        end = whole(end)
        if end < self._fresh:
            self._fill(end, self._fresh)
            self._fresh = end

    def _open(self, begin: int, end: int) -> None:
        self._gaps.insert(bisect_right(self._gaps, (begin, end)), (begin, end))
        self._missing += end - begin

    def _fill(self, begin: int, end: int) -> None:
        """What is missing from ``begin`` to ``end`` is so no more."""
        first = max(bisect_right(self._gaps, (begin,)) - 1, 0)
        last = first
        rest: list[tuple[int, int]] = []
        while last < len(self._gaps) and self._gaps[last][0] < end:
            low, high = self._gaps[last]
            rest += [(low, min(high, begin))] if low < begin else []
            rest += [(max(low, end), high)] if high > end else []
            self._missing -= high - low
            last += 1
        rest = [(low, high) for low, high in rest if low < high]
        self._gaps[first:last] = rest
        self._missing += sum(high - low for low, high in rest)
