"""The long format with types."""

import csv
import io

import pyarrow as pa
import pytest
from pyarrow import parquet

from fairtune.report import FORMATS
from tests import reports


@pytest.fixture
def report(tmp_path):
    specs = reports.specs_of(tmp_path, reports.study_of())
    return reports.report_of(tmp_path, specs, failed=[specs[2].run_id])


def table_of(report):
    return parquet.read_table(io.BytesIO(FORMATS["parquet"](report)))


def test_columns_and_rows_are_those_of_csv(report):
    table = table_of(report)
    rows = list(csv.DictReader(io.StringIO(FORMATS["csv"](report))))
    assert table.column_names == list(rows[0])
    assert table.num_rows == len(rows) == len(report.rows) * len(report.metrics)
    for ours, theirs in zip(table.to_pylist(), rows, strict=True):
        for name, value in ours.items():
            shown = theirs[name]
            if value is None:
                assert shown == "" or (name, shown) == ("seed", "mean")
            elif isinstance(value, str):
                assert value == shown
            else:
                assert value == pytest.approx(float(shown), rel=1e-12)


def test_every_column_has_its_type_even_where_nothing_is_known(report, tmp_path):
    schema = table_of(report).schema
    assert schema.field("run_id").type == pa.string()
    assert (schema.field("seed").type, schema.field("n").type) == (pa.int64(), pa.int64())
    assert {schema.field(name).type for name in ("value", "low", "uplift", "train_peak_bytes")} == {pa.float64()}
    specs = reports.specs_of(tmp_path, reports.study_of())
    nothing = reports.report_of(tmp_path, specs, failed=[spec.run_id for spec in specs])
    assert table_of(nothing).schema == schema


def test_what_is_missing_is_null_and_a_mean_has_no_seed(report):
    rows = table_of(report).to_pylist()
    (failed,) = [row for row in rows if row["status"] == "out_of_memory" and row["metric"] == "chrf"]
    assert (failed["value"], failed["uplift"], failed["train_seconds"]) == (None, None, None)
    assert failed["reason"] == "no room"
    means = [row for row in rows if row["seed"] is None]
    assert {row["method"] for row in means} == {"full", "lora"}
    assert all("+" in row["run_id"] for row in means if row["method"] == "lora")


def test_only_parquet_is_bytes():
    assert [name for name, found in FORMATS.items() if found.binary] == ["parquet"]
