"""Tokens as Arrow keeps them: in memory, or in a file that is mapped and read where it is looked at."""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Iterable, Iterator, Sequence, Sized
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fairtune.data.encode import Encoded, Line
from fairtune.data.items import Items, Numbers

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("tokens", pa.list_(pa.int32())),
        ("runs", pa.list_(pa.int32())),  # where tokens carry loss: start, end, start, end, …
        ("prompt_length", pa.int32()),
        ("prompt_hash", pa.string()),
        ("reference", pa.string()),
    ]
)
_ROWS = 1000


class TokenTable(Items):
    """Encoded examples in Arrow's record batches, each made when it is looked at.

    Of a mapped file only the lengths are read at first; the tokens of an example when it is asked for.
    """

    def __init__(self, batches: Iterable[pa.RecordBatch]) -> None:
        self._sheets = [_Sheet(batch) for batch in batches]
        self._starts = np.cumsum([0, *(sheet.rows for sheet in self._sheets)])
        self.lengths = _joined([sheet.lengths for sheet in self._sheets])
        self.prompt_lengths = _joined([sheet.prompt_lengths for sheet in self._sheets])
        self.first_learned = _joined([sheet.first_learned() for sheet in self._sheets])

    @classmethod
    def of(cls, items: Iterable[Encoded]) -> TokenTable:
        """Examples that are already there."""
        return cls(batches_of(map(_line_of, items)))

    @classmethod
    def read(cls, path: Path) -> TokenTable:
        """The table in a file, mapped.

        Raises:
            pyarrow.ArrowInvalid: no whole table of tokens.
        """
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        if reader.schema != SCHEMA:
            raise pa.ArrowInvalid(f"{path}: other columns than those of tokens")
        return cls(reader.get_batch(index) for index in range(reader.num_record_batches))

    def at(self, index: int) -> Encoded:
        """The example at ``index``."""
        sheet, row = self._place(index)
        return sheet.line(row).encoded()

    def id_of(self, index: int) -> str:
        """Its id."""
        sheet, row = self._place(index)
        return sheet.text("id", row)

    def tokens_of(self, index: int, start: int, end: int) -> tuple[int, ...]:
        """Some of its tokens."""
        sheet, row = self._place(index)
        return tuple(sheet.tokens.of(row)[start:end].tolist())

    def supervised(self, length: int | None = None) -> int:
        """Tokens that carry loss, of the first ``length`` of each example; of all where that is None."""
        return sum(sheet.supervised(length) for sheet in self._sheets)

    def _place(self, index: int) -> tuple[_Sheet, int]:
        sheet = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self._sheets[sheet], index - int(self._starts[sheet])


def write_table(path: Path, lines: Iterable[Line]) -> None:
    """A file of the lines' table, a batch of rows at a time."""
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, SCHEMA) as writer:
        for batch in batches_of(lines):
            writer.write_batch(batch)


def batches_of(lines: Iterable[Line]) -> Iterator[pa.RecordBatch]:
    """The lines as record batches, each of some hundred rows."""
    rest = iter(lines)
    while some := list(itertools.islice(rest, _ROWS)):
        yield _batch(some)


def _batch(lines: Sequence[Line]) -> pa.RecordBatch:
    ids, tokens, runs, prompt_lengths, hashes, references = zip(*lines, strict=True)
    numbers = _int32(array("i", prompt_lengths))
    columns = [_texts(ids), _lists(tokens), _lists(runs), numbers, _texts(hashes), _texts(references)]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def _lists(rows: Sequence[Sequence[int]]) -> pa.ListArray:
    """Rows of whole numbers, without an object for each on the way."""
    flat = array("i")
    for row in rows:
        flat.extend(row)
    return pa.ListArray.from_arrays(_int32(_offsets(rows)), _int32(flat))


def _texts(rows: Sequence[str]) -> pa.StringArray:
    encoded = [text.encode() for text in rows]
    return pa.StringArray.from_buffers(len(rows), pa.py_buffer(_offsets(encoded)), pa.py_buffer(b"".join(encoded)))


def _offsets(rows: Sequence[Sized]) -> array[int]:
    return array("i", itertools.accumulate(map(len, rows), initial=0))


# From and to bare buffers: Arrow's own converters import pandas first, where it is installed, which takes a third of a
# second and 50 MB.
def _int32(flat: array[int]) -> pa.Int32Array:
    return pa.Array.from_buffers(pa.int32(), len(flat), [None, pa.py_buffer(flat)])


def _view(column: pa.Int32Array) -> Any:
    numbers = np.frombuffer(column.buffers()[1], dtype=np.int32)
    return numbers[column.offset : column.offset + len(column)]


def _line_of(item: Encoded) -> Line:
    edges = np.flatnonzero(np.diff(np.array([False, *item.supervised, False]).astype(np.int8))).tolist()
    return Line(item.id, item.tokens, edges, item.prompt_length, item.prompt_hash, item.reference)


def _joined(parts: Sequence[Any]) -> Numbers:
    return np.concatenate([np.zeros(0, dtype=np.int64), *parts])


class _Lists:
    """A column of lists: all values ``(values,)``, and where each row's begin ``(rows + 1,)``; views of a file."""

    def __init__(self, column: pa.ListArray) -> None:
        self.values = _view(column.values)
        self.offsets = _view(column.offsets)
        if self.offsets[0] < 0 or self.offsets[-1] > len(self.values) or bool(np.any(np.diff(self.offsets) < 0)):
            raise pa.ArrowInvalid("the rows of a list do not follow each other")

    def of(self, row: int) -> Any:
        """The values of a row."""
        return self.values[self.offsets[row] : self.offsets[row + 1]]


class _Sheet:
    """One record batch."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        batch.validate()
        self._batch = batch
        self.rows: int = batch.num_rows
        self.tokens, self._runs = _Lists(batch.column("tokens")), _Lists(batch.column("runs"))
        self.lengths = np.diff(self.tokens.offsets).astype(np.int64)
        self.prompt_lengths = _view(batch.column("prompt_length")).astype(np.int64)

    def text(self, column: str, row: int) -> str:
        """A row's value in a column of text."""
        return str(self._batch.column(column)[row].as_py())

    def line(self, row: int) -> Line:
        """A row."""
        return Line(
            self.text("id", row),
            self.tokens.of(row).tolist(),
            self._runs.of(row).tolist(),
            int(self.prompt_lengths[row]),
            self.text("prompt_hash", row),
            self.text("reference", row),
        )

    def first_learned(self) -> Any:
        """As ``Items.first_learned``. A run of the first token alone teaches nothing."""
        first = self.lengths.copy()
        starts, ends, rows = self._spans()
        np.minimum.at(first, rows[ends > starts], starts[ends > starts])
        return first

    def supervised(self, length: int | None) -> int:
        """Tokens that carry loss among the first ``length`` of each row."""
        starts, ends, _ = self._spans()
        if length is not None:
            ends = np.minimum(ends, length)
        return int(np.maximum(ends - starts, 0).sum())

    def _spans(self) -> tuple[Any, Any, Any]:
        """Where runs start and end, and the row of each; the first token of a row has nothing to be predicted from."""
        rows = np.repeat(np.arange(self.rows), np.diff(self._runs.offsets) // 2)
        found = self._runs.values[self._runs.offsets[0] : self._runs.offsets[-1]].astype(np.int64)
        return np.maximum(found[::2], 1), found[1::2], rows
