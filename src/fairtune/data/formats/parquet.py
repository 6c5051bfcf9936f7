"""Parquet, read a batch at a time."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import IO

from fairtune.data.formats.layout import ANY, Layout
from fairtune.data.formats.stream import File
from fairtune.data.rows import Faults, Row
from fairtune.errors import DataError

MAGIC = b"PAR1"
_BATCH = 1_000


def rows(file: File, faults: Faults, layout: Layout = ANY) -> Iterator[Row]:
    """A row a row.

    Raises:
        DataError: the file is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    with file.open() as stream:
        try:
            for batch in pq.ParquetFile(_seekable(stream)).iter_batches(_BATCH):
                for columns in batch.to_pylist():
                    number += 1
                    yield Row(columns, f"{file.name}, row {number}")
        except pa.ArrowException as error:
            raise DataError(f"{file.name}: cannot be read as Parquet after row {number}: {error}") from None


def _seekable(stream: IO[bytes]) -> IO[bytes]:
    """The footer comes first, so a packed file is unpacked in memory."""
    return stream if isinstance(stream, io.BufferedReader) and stream.seekable() else io.BytesIO(stream.read())
