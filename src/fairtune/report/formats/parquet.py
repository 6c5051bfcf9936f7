"""Parquet: the long format with types, for pandas, polars, DuckDB and R."""

from __future__ import annotations

import io
from typing import Any

from fairtune.report.collect import Report
from fairtune.report.formats.long_rows import HEADINGS, MEAN, TEXTS, WHOLE, Cell, long_rows


def render(report: Report) -> bytes:
    """The columns of CSV as texts, whole and real numbers; what is missing is null, and so is the seed of a mean."""
    import pyarrow as pa
    from pyarrow import parquet

    columns = list(zip(*long_rows(report), strict=True)) or [()] * len(HEADINGS)
    arrays = [
        pa.array([_value(name, cell) for cell in column], type=_type(name))
        for name, column in zip(HEADINGS, columns, strict=True)
    ]
    data = io.BytesIO()
    parquet.write_table(pa.table(arrays, names=list(HEADINGS)), data)
    return data.getvalue()


def _type(name: str) -> Any:
    import pyarrow as pa

    return pa.string() if name in TEXTS else pa.int64() if name in WHOLE else pa.float64()


def _value(name: str, cell: Cell) -> Cell:
    if cell in ("", None) or (name == "seed" and cell == MEAN):
        return None
    return cell if isinstance(cell, str) or name in WHOLE else float(cell)
