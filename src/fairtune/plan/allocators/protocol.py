"""What every simulated allocator can do."""

from __future__ import annotations

from typing import Protocol


class Allocator(Protocol):
    """Told what a program asks for and gives back, says what is held for it."""

    @property
    def reserved(self) -> int:
        """Bytes held now."""

    def allocate(self, size: int) -> int:
        """A block of so many bytes; gives its handle."""

    def free(self, handle: int) -> None:
        """The block is no longer needed."""

    def trim(self) -> None:
        """What is held and free goes back."""
