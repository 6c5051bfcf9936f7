"""Files of every format, packed or not; what is wrong with them is told by file and line, and nothing is lost."""

import bz2
import contextlib
import csv
import gzip
import io
import json
import lzma
import os
import subprocess
import sys
import zipfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fairtune.data import load_splits
from fairtune.data.formats import FORMATS, plain_text, stream
from fairtune.data.rows import Faults
from fairtune.data.sources import Layout, read_rows
from fairtune.errors import DataError
from fairtune.study import Task
from tests import tiny
from tests.hub import hub_of

ROWS = [{"prompt": f'p{n}, "q"', "completion": f"línea\n{n}"} for n in range(3)]


def as_csv(rows, delimiter=","):
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def as_parquet(rows):
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


WRITTEN = {
    "a.jsonl": "\n".join(map(json.dumps, ROWS)).encode(),
    "a.json": json.dumps(ROWS, indent=1).encode(),
    "nested.json": json.dumps({"version": 1, "data": ROWS}).encode(),
    "lines.json": "\n".join(map(json.dumps, ROWS)).encode(),
    "list.txt": json.dumps(ROWS, indent=4).encode(),
    "a.csv": as_csv(ROWS).encode(),
    "semicolons.csv": b"\xef\xbb\xbf" + as_csv(ROWS, ";").encode(),
    "quoted.tsv": as_csv(ROWS, "\t").encode(),
    "a.parquet": as_parquet(ROWS),
}
PACK = {"": lambda data: data, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


def found(place, root, **keys):
    return [dict(row.columns) for row in read_rows(place, root, **keys)]


@pytest.mark.parametrize("packed", PACK)
@pytest.mark.parametrize("name", WRITTEN)
def test_every_format_gives_the_same_rows_packed_or_not(tmp_path, name, packed):
    (tmp_path / (name + packed)).write_bytes(PACK[packed](WRITTEN[name]))
    assert found(name + packed, tmp_path) == ROWS


def test_a_zip_a_folder_and_a_pattern_give_every_file_in_the_order_of_names(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("in/2.jsonl", WRITTEN["a.jsonl"])
        archive.writestr("in/1.jsonl", json.dumps({"prompt": "first", "completion": "x"}))
        archive.writestr("in/_about.txt", "not data")
    folder = tmp_path / "folder" / "deep"
    folder.mkdir(parents=True)
    (folder / "2.jsonl").write_bytes(WRITTEN["a.jsonl"])
    (tmp_path / "folder" / ".hidden.csv").write_text("a,b")
    (tmp_path / "folder" / "1.jsonl").write_text(json.dumps({"prompt": "first", "completion": "x"}))
    wanted = [{"prompt": "first", "completion": "x"}, *ROWS]
    assert sorted(map(str, found("folder", tmp_path))) == sorted(map(str, wanted))
    assert found("a.zip", tmp_path) == wanted
    assert found("folder/*.jsonl", tmp_path) == wanted[:1]
    assert found("folder/**/*.jsonl", tmp_path)[0] == wanted[0]
    assert next(read_rows("a.zip", tmp_path)).where == "a.zip/in/1.jsonl, line 1"


def test_files_of_several_formats_are_not_mixed(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(WRITTEN["a.jsonl"])
    (tmp_path / "notes.txt").write_text("Some notes.")
    with pytest.raises(DataError, match=r"several formats .*give one kind"):
        found(".", tmp_path)


def test_a_format_can_be_named(tmp_path):
    (tmp_path / "odd.data").write_bytes(WRITTEN["a.csv"])
    assert found("odd.data", tmp_path, layout=Layout("csv")) == ROWS
    assert set(FORMATS) == set(Task.model_json_schema()["properties"]["format"]["anyOf"][0]["enum"])


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Go.\tVe.\nRun!\t¡Corre!\n", ["source", "target"]),
        ("English\tSpanish\nGo.\tVe.\n", ["English", "Spanish"]),
        ("en\tes\nGo.\tVe.\n", ["en", "es"]),
        ('"Go," he said.\tVe.\nRun!\tCorre "ya".\n', ["source", "target"]),
    ],
)
def test_two_columns_have_names_only_where_the_first_line_tells_them(tmp_path, text, names):
    (tmp_path / "pairs.txt").write_text(text, encoding="utf-8")
    rows = found("pairs.txt", tmp_path)
    assert list(rows[0]) == names
    assert len(rows) == text.count("\n") - (names != ["source", "target"])
    assert "".join("\t".join(row.values()) + "\n" for row in rows) in text


def test_text_that_begins_with_a_bracket_is_text(tmp_path):
    (tmp_path / "song.txt").write_text("[Intro]\nLa la la\n")
    assert found("song.txt", tmp_path) == [{"text": "[Intro]\nLa la la\n"}]


def test_a_long_text_is_several_documents_that_together_are_the_text(tmp_path, monkeypatch):
    monkeypatch.setattr(plain_text, "WHOLE", 2_000)
    monkeypatch.setattr(plain_text, "PIECE", 100)
    for text in (tiny.text(1_900), tiny.text(9_000), "ñ" * 5_000, "ñandú\n" * 900):
        (tmp_path / "long.txt").write_text(text, encoding="utf-8")
        rows = list(read_rows("long.txt", tmp_path))
        assert "".join(row.columns["text"] for row in rows) == text
        assert (len(rows) == 1) == (len(text.encode()) <= 2_000)
        assert all(row.columns["text"].endswith("\n") for row in rows[:-1]) or "\n" not in text
    lines = [int(row.where.rpartition(" ")[2]) for row in rows[1:]]
    assert lines == sorted(set(lines))


# --- what is wrong -------------------------------------------------------------------------------------------------

LATIN = "niño".encode("latin-1")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.jsonl", b'{"a": 1}\n{"a": \n', r"a\.jsonl, line 2: not JSON .*expected one object"),
        ("a.jsonl", b'{"a": 1}\n{"a": "' + LATIN + b'"}\n', r"line 2: is not UTF-8 \(byte 0xf1 at place 10"),
        ("a.jsonl", b'{"a": 1}\n' + b"[" * 100_000, "line 2: not JSON that can be read"),
        ("a.jsonl", b'{"a": ' + b"1" * 5_000 + b"}", "line 1: not JSON that can be read"),
        ("a.json", b'[{"a": 1},\n {"a": }]', r"a\.json, line 2: not JSON \(Expecting value at column 8\)"),
        ("a.json", b'[{"a": 1}, 2]', "item 2: found int, expected an object"),
        ("a.json", b'{"a": 1,\n "b": 2}', "found an object with a, b, expected a list of objects"),
        ("a.csv", b"prompt,completion\na,b\nc\n", r"line 3: found 1 fields, expected 2 \(prompt, completion\)"),
        ("a.csv", b"prompt,completion\na,b\nc,d,e\n", "line 3: found 3 fields, expected 2"),
        ("a.csv", b'prompt,completion\n"a,b\nc,d\n', "line 2: found unexpected end of data"),
        ("a.csv", b"prompt,completion\na," + LATIN + b"\n", "line 2: is not UTF-8"),
        ("a.csv", b"a,b,a\n1,2,3\n", "names 'a' twice"),
        ("a.tsv", b"source\ttarget\na\tb\tc\n", "line 2: found 3 fields, expected 2"),
        ("a.txt", b"first\nsecond " + LATIN, r"a\.txt, line 2: is not UTF-8 \(byte 0xf1 at place 10"),
        ("a.txt", "Señor".encode("utf-16"), "is UTF-16, expected UTF-8"),
        ("a.parquet", b"PAR1 and no more", "cannot be read as Parquet"),
        ("a.jsonl.gz", b"not packed", "cannot be read: Not a gzipped file"),
        ("a.zip", b"not packed", "cannot be unpacked"),
        ("a.bin", b"\x00\x01\x02", "is not text"),
        *[(name, b" \n", "is empty") for name in ("a.jsonl", "a.json", "a.csv", "a.tsv", "a.txt")],
    ],
)
def test_what_is_wrong_is_told_by_file_and_line(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=words):
        found(name, tmp_path)


def test_a_line_of_fifty_megabytes_is_told_and_the_next_is_read(tmp_path):
    long = json.dumps({"prompt": "x" * 50 * 2**20, "completion": "y"})
    tiny.write_jsonl(tmp_path / "a.jsonl", [ROWS[0]])
    with (tmp_path / "a.jsonl").open("a") as file:
        file.write(f"{long}\n{json.dumps(ROWS[1])}\n")
    faults = Faults("skip")
    assert found("a.jsonl", tmp_path, faults=faults) == ROWS[:2]
    assert faults.listed == [
        f"a.jsonl, line 2: found a line of {len(long) + 1:,} bytes, expected at most {stream.MAX_LINE:,}"
    ]


def test_an_empty_file_among_others_is_told(tmp_path):
    (tmp_path / "1.jsonl").write_bytes(WRITTEN["a.jsonl"])
    (tmp_path / "2.jsonl").write_text("")
    with pytest.raises(DataError, match=r"2\.jsonl: is empty"):
        found("*.jsonl", tmp_path)


# --- no row is lost without being told -------------------------------------------------------------------------------

BYTES = st.one_of(
    st.binary(max_size=60),
    st.text(max_size=30).map(str.encode),
    st.sampled_from(
        [b'{"prompt": "a", "completion": "b"}', b'{"prompt": "\\ud800", "completion": "b"}', b"[1]", b"{", b"null"]
    ),
    st.sampled_from(
        [b"a,b", b'"a', b"a,b,c", b"\ta\t", b"\x00", b'""', b"\xff\xfe", b'{"text": {}}', b'{"messages": [{}]}']
    ),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=st.lists(BYTES, max_size=6),
    name=st.sampled_from(["a.jsonl", "a.json", "a.csv", "a.tsv", "a.txt", "a.parquet"]),
)
def test_whatever_a_file_holds_it_is_read_or_refused_in_words(tmp_path, lines, name):
    (tmp_path / name).write_bytes(b"\n".join(lines))
    for on_bad_rows in ("stop", "skip"):
        task = Task(name="t", train=name, test=1, validation=1, on_bad_rows=on_bad_rows)
        with contextlib.suppress(DataError):
            splits = load_splits(task, tmp_path)
            assert all(example.messages for part in splits.parts.values() for example in part)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(BYTES.filter(lambda raw: b"\n" not in raw and b"\r" not in raw), min_size=1, max_size=8))
def test_every_line_is_a_row_or_a_fault_or_blank(tmp_path, lines):
    good = [json.dumps({"prompt": f"q{n}", "completion": "a"}).encode() for n in range(3)]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join([*good, *lines]))
    faults = Faults("skip")
    rows = list(read_rows("a.jsonl", tmp_path, faults))
    assert len(rows) + faults.count == len(good) + sum(bool(line.strip()) for line in lines)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cells=st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8)), min_size=1, max_size=6))
def test_what_a_csv_writer_wrote_is_read_back(tmp_path, cells):
    rows = [{"prompt": a, "completion": b} for a, b in cells if "\x00" not in a + b and (a + b).strip()]
    (tmp_path / "a.csv").write_text(
        as_csv([*rows, {"prompt": "last", "completion": "row"}]), encoding="utf-8", newline=""
    )
    assert found("a.csv", tmp_path)[-1] == {"prompt": "last", "completion": "row"}
    assert found("a.csv", tmp_path)[:-1] == rows


def test_rows_that_cannot_be_used_stop_or_are_left_out_and_listed(tmp_path):
    rows = tiny.rows(10)
    tiny.write_jsonl(tmp_path / "a.jsonl", [*rows[:5], {"prompt": "?"}, {"prompt": "?", "completion": ""}, *rows[5:]])
    with pytest.raises(DataError, match=r"2 rows of 12 cannot be used; mend them, or .*on_bad_rows: skip"):
        load_splits(Task(name="t", train="a.jsonl"), tmp_path)
    splits = load_splits(Task(name="t", train="a.jsonl", on_bad_rows="skip"), tmp_path)
    assert sum(map(len, splits.parts.values())) == 10
    assert splits.bad_rows.count == 2
    assert [text.partition(":")[0] for text in splits.bad_rows.listed] == ["a.jsonl, line 6", "a.jsonl, line 7"]


def test_where_no_row_is_left_skipping_does_not_help(tmp_path):
    tiny.write_jsonl(tmp_path / "a.jsonl", [{"prompt": "a", "completion": ""}] * 2)
    with pytest.raises(DataError, match="2 rows of 2 cannot be used"):
        load_splits(Task(name="t", train="a.jsonl", on_bad_rows="skip"), tmp_path)


# --- the hub, as a local server --------------------------------------------------------------------------------------

PROGRAM = """
import sys
from pathlib import Path
from fairtune.data import read_rows
from fairtune.errors import DataError
for place in sys.argv[1:]:
    try:
        for row in read_rows(place, Path()):
            print(row.where, dict(row.columns))
    except DataError as error:
        print("DataError:", error)
    print("\\f")
"""


def ask_hub(places, endpoint, home):
    """What is told of each place. In a process of its own: the hub's client reads its settings once, when imported."""
    environment = {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "PATH": "/usr/bin:/bin"}
    environment |= {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *places], env=environment, capture_output=True, text=True, cwd=home
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\f\n")[:-1]


def test_a_data_set_of_the_hub_is_read_by_its_id_and_split(tmp_path):
    files = {"train.jsonl": WRITTEN["a.jsonl"], "test.jsonl": json.dumps({"prompt": "t", "completion": "u"}).encode()}
    with hub_of("datasets", "lab/rows", files) as endpoint:
        whole, split, none = ask_hub(["hub:lab/rows", "lab/rows#test", "lab/none"], endpoint, tmp_path)
    assert f"lab/rows, train row 3 {ROWS[2]}" in whole
    assert "lab/rows, test row 1 {'prompt': 't', 'completion': 'u'}" in split
    assert "as a data set it cannot be had" in none
