"""Many examples in order: in memory while they are few, on disk and memory-mapped beyond."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from fairtune.data.by_place import ByPlace
from fairtune.data.examples import Checks, Example, Message, digest

Rows = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]
HASHES = 2.0**48
"""Number of different hashes: they are the twelve hex digits of :func:`digest`."""

# Characters of text. Python keeps a few times as much beside them.
_IN_MEMORY = 64 * 2**20
_BATCH = 1_000


class Examples(Sequence[Example]):
    """A selection, in order, of examples that lie in one place.

    A row that repeats an earlier one is called ``id-2``, ``id-3``, …: dropping it would change what the user asked for.
    """

    def __init__(self, stored: Sequence[Example], rows: Rows | None = None, repeats: Rows | None = None) -> None:
        self._stored = stored
        self._rows = np.arange(len(stored), dtype=np.int64) if rows is None else rows
        self._repeats = repeats

    @classmethod
    def of(cls, examples: Iterable[Example], in_memory: int = _IN_MEMORY) -> Examples:
        """Keeps every example of a stream. ``in_memory``: characters of text beyond which all are kept on disk."""
        examples = iter(examples)
        kept: list[Example] = []
        size = 0
        for example in examples:
            kept.append(example)
            size += sum(len(message.content) for message in example.messages)
            size += len(example.checks.before + example.checks.after) if example.checks else 0
            size += sum(map(len, example.choices))
            if size > in_memory:
                return cls(_OnDisk.of(kept, examples))
        return cls(kept)

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, place: int) -> Example: ...

    @overload
    def __getitem__(self, place: slice) -> Examples: ...

    def __getitem__(self, place: int | slice) -> Example | Examples:
        if isinstance(place, slice):
            return Examples(self._stored, self._rows[place], None if self._repeats is None else self._repeats[place])
        example = self._stored[int(self._rows[place])]
        repeat = 1 if self._repeats is None else int(self._repeats[place])
        return example if repeat == 1 else replace(example, id=f"{example.id}-{repeat}")

    def __iter__(self) -> Iterator[Example]:
        return (self[place] for place in range(len(self)))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Sequence)
            and len(self) == len(other)
            and all(a == b for a, b in zip(self, other, strict=True))
        )

    __hash__ = None  # type: ignore[assignment]

    def select(self, chosen: npt.NDArray[Any]) -> Examples:
        """Those at the places, or where the mask is true, in the order of this selection."""
        return Examples(self._stored, self._rows[chosen], None if self._repeats is None else self._repeats[chosen])

    def hashes(self, of: Callable[[Example], str]) -> Hashes:
        """Shape ``(examples,)``: the hash of a text made from each, read one after another."""
        return np.fromiter((int(digest(of(example)), 16) for example in self), dtype=np.uint64, count=len(self))

    def named_once(self) -> Examples:
        """The same examples with ids that differ."""
        ids = np.fromiter((int(example.id, 16) for example in self), dtype=np.uint64, count=len(self))
        order = np.argsort(ids, kind="stable")
        first = np.ones(len(ids), dtype=bool)
        first[1:] = ids[order][1:] != ids[order][:-1]
        places = np.arange(len(ids), dtype=np.int64)
        begins = np.maximum.accumulate(np.where(first, places, 0))
        repeats = np.empty(len(ids), dtype=np.int64)
        repeats[order] = places - begins + 1
        return Examples(self._stored, self._rows, repeats if (repeats > 1).any() else None)


class _OnDisk(ByPlace[Example]):
    """Examples in an Arrow file that nobody else sees: it is gone with the process."""

    def __init__(self, table: Any) -> None:
        self._table = table
        self._batches = table.to_batches()
        self._ends = np.cumsum([batch.num_rows for batch in self._batches])

    @classmethod
    def of(cls, first: Sequence[Example], more: Iterator[Example]) -> _OnDisk:
        """Writes a stream to disk, a batch at a time."""
        import itertools

        import pyarrow as pa

        schema = pa.schema([("lines", pa.large_string())])
        examples = itertools.chain(first, more)
        with tempfile.TemporaryDirectory(prefix="fairtune-") as folder:
            path = Path(folder) / "examples.arrow"
            with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
                while batch := [_line(example) for example in itertools.islice(examples, _BATCH)]:
                    writer.write_batch(pa.record_batch([pa.array(batch, pa.large_string())], schema=schema))
            # The mapping outlives the name of the file, on Linux and macOS; the room is free when the process ends.
            return cls(pa.ipc.open_file(pa.memory_map(str(path))).read_all())

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def at(self, place: int) -> Example:
        """Read back from its line."""
        batch = int(np.searchsorted(self._ends, place, side="right"))
        start = int(self._ends[batch]) - self._batches[batch].num_rows
        return _example(self._batches[batch].column(0)[place - start].as_py())


def _line(example: Example) -> str:
    turns = [[message.role, message.content] for message in example.messages]
    checks = example.checks and (example.checks.before, example.checks.after)
    others = example.task_system, example.where, example.group, example.origin
    kept = example.id, turns, *others, checks, example.choices
    return json.dumps(kept, ensure_ascii=False)


def _example(line: str) -> Example:
    name, turns, *others, checks, choices = json.loads(line)
    messages = tuple(Message(role, content) for role, content in turns)
    made = Example(name, messages, *others)
    return replace(made, checks=Checks(*checks) if checks else None, choices=tuple(choices))
