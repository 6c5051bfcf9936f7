"""Sequences whose items are read or made when they are asked for."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import TypeVar, overload

T = TypeVar("T")


class ByPlace(Sequence[T]):
    """Items by their place; a slice is a list of them."""

    @abstractmethod
    def at(self, place: int) -> T:
        """The item at ``place``, 0 to ``len(self) - 1``."""

    def __iter__(self) -> Iterator[T]:
        return map(self.at, range(len(self)))

    @overload
    def __getitem__(self, place: int) -> T: ...

    @overload
    def __getitem__(self, place: slice) -> list[T]: ...

    def __getitem__(self, place: int | slice) -> T | list[T]:
        if isinstance(place, slice):
            return [self.at(index) for index in range(len(self))[place]]
        return self.at(range(len(self))[place])
