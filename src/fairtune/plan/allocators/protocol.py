"""What the planner knows of an allocator."""

from __future__ import annotations

from typing import Protocol


class Allocator(Protocol):
    """Gives out blocks of memory of which there is none; only what it holds is counted."""

    @property
    def reserved(self) -> int:
        """Bytes held now: what is given out, what is kept for later, and what was lost to rounding."""

    def allocate(self, size: int) -> int:
        """A handle for a block of ``size`` bytes. No handle is given twice.

        Raises:
            ValueError: ``size`` is negative.
        """

    def free(self, handle: int) -> None:
        """Takes a block back, most often to keep it.

        Raises:
            ValueError: the handle is not that of a block in use.
        """

    def trim(self) -> None:
        """Gives back what is free and can be given back."""
