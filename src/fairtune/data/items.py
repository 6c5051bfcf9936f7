"""Encoded examples as everything downstream sees them: by index, made when they are looked at."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from fairtune.data.encode import Encoded

Numbers = npt.NDArray[np.int64]


class Items(Sequence[Encoded]):
    """Examples by index. What is asked of all of them at once lies in arrays ``(examples,)``."""

    lengths: Numbers
    """Tokens of each."""
    prompt_lengths: Numbers
    first_learned: Numbers
    """Position of the first token that carries loss and has one before it; the example's length where none does."""

    @abstractmethod
    def at(self, index: int) -> Encoded:
        """The example at ``index``, 0 to ``len(self) - 1``."""

    @abstractmethod
    def id_of(self, index: int) -> str:
        """The id of the example at ``index``."""

    @abstractmethod
    def tokens_of(self, index: int, start: int, end: int) -> tuple[int, ...]:
        """Some tokens of the example at ``index``; the others are not touched."""

    def __len__(self) -> int:
        return len(self.lengths)

    @overload
    def __getitem__(self, index: int) -> Encoded: ...

    @overload
    def __getitem__(self, index: slice) -> Items: ...

    def __getitem__(self, index: int | slice) -> Encoded | Items:
        if isinstance(index, slice):
            return Chosen(self, np.arange(len(self))[index])
        position = index + len(self) if index < 0 else index
        if not 0 <= position < len(self):
            raise IndexError(index)
        return self.at(position)

    def __iter__(self) -> Iterator[Encoded]:
        return map(self.at, range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or len(self) != len(other):
            return False
        return all(one == two for one, two in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]


class Derived(Items):
    """Items made from others, one from one, with the same number of tokens unless said otherwise."""

    def __init__(self, items: Items) -> None:
        self._items = items
        self.lengths = items.lengths
        self.prompt_lengths = items.prompt_lengths
        self.first_learned = items.first_learned

    def id_of(self, index: int) -> str:
        """The id of the example it is made from."""
        return self._items.id_of(index)

    def tokens_of(self, index: int, start: int, end: int) -> tuple[int, ...]:
        """Some of its tokens."""
        return self._items.tokens_of(index, start, min(end, int(self.lengths[index])))


class Chosen(Items):
    """Some of the items, in an order of their own."""

    def __init__(self, items: Items, rows: Any) -> None:
        self._items, self._rows = items, rows
        self.lengths, self.prompt_lengths = items.lengths[rows], items.prompt_lengths[rows]
        self.first_learned = items.first_learned[rows]

    def at(self, index: int) -> Encoded:
        """The example itself."""
        return self._items.at(int(self._rows[index]))

    def id_of(self, index: int) -> str:
        """Its id."""
        return self._items.id_of(int(self._rows[index]))

    def tokens_of(self, index: int, start: int, end: int) -> tuple[int, ...]:
        """Some of its tokens."""
        return self._items.tokens_of(int(self._rows[index]), start, end)


class Joined(Items):
    """One behind the other."""

    def __init__(self, first: Items, second: Items) -> None:
        self._first, self._second = first, second
        self.lengths = np.concatenate([first.lengths, second.lengths])
        self.prompt_lengths = np.concatenate([first.prompt_lengths, second.prompt_lengths])
        self.first_learned = np.concatenate([first.first_learned, second.first_learned])

    def at(self, index: int) -> Encoded:
        """The example itself."""
        items, place = self._place(index)
        return items.at(place)

    def id_of(self, index: int) -> str:
        """Its id."""
        items, place = self._place(index)
        return items.id_of(place)

    def tokens_of(self, index: int, start: int, end: int) -> tuple[int, ...]:
        """Some of its tokens."""
        items, place = self._place(index)
        return items.tokens_of(place, start, end)

    def _place(self, index: int) -> tuple[Items, int]:
        size = len(self._first)
        return (self._first, index) if index < size else (self._second, index - size)
