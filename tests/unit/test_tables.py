"""Tables as people have them: headers of any word, stray quotation marks, odd lines, old line ends, notices beside."""

import csv
import io
import json
import re
import zipfile

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fairtune.data import load_splits
from fairtune.data.formats import Layout
from fairtune.data.formats.header import PAIR
from fairtune.data.rows import Faults
from fairtune.data.sources import read_rows, without_header
from fairtune.errors import DataError
from fairtune.study import Task

TIMES = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def read(root, name, content, **layout):
    """Rows, and faults, of a file."""
    (root / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    faults = Faults("skip")
    return list(read_rows(name, root, faults, Layout(**layout))), faults


def columns(root, name, content, **layout):
    rows, faults = read(root, name, content, **layout)
    assert not faults.count, faults.listed
    return [dict(row.columns) for row in rows]


def lines_of(where):
    """The numbers of the lines that ``a.csv, lines 3–5`` means."""
    first, last = re.search(r", lines? (\d+)(?:–(\d+))?", where).groups()
    return list(range(int(first), int(last or first) + 1))


# --- which line is the header --------------------------------------------------------------------------------------

HEADERS = ["review,sentiment", "Tweet,Label", "user_prompt,completion", "English text,Texto", "go,ve", "a,b,c", "text"]
ROWS = ["Go.,Ve.", "What is 2+2?,4", "yes,yes", "12,13", "A question that goes on for long,yes", "Is it?,no,0"]


@pytest.mark.parametrize("first", HEADERS)
def test_short_names_are_the_header_of_a_csv(tmp_path, first):
    width = first.count(",") + 1
    text = f"{first}\n" + ",".join(["An answer."] * width) + "\n"
    assert columns(tmp_path, "a.csv", text) == [dict.fromkeys(first.split(","), "An answer.")]
    assert without_header("a.csv", tmp_path) == ()


@pytest.mark.parametrize("first", ROWS)
def test_sentences_numbers_and_words_said_twice_are_a_row_of_a_csv(tmp_path, first):
    found = columns(tmp_path, "a.csv", f"{first}\n{first}\n")
    assert [list(row.values()) for row in found] == [first.split(",")] * 2
    assert tuple(found[0]) == (PAIR if len(found[0]) == 2 else ("column 1", "column 2", "column 3"))
    assert without_header("a.csv", tmp_path) == ("a.csv",)


@pytest.mark.parametrize(
    ("first", "is_header"),
    [
        ("go\tve", False),
        ("perro\tdog", False),
        ("Go.\tVe.", False),
        ("en\tes", True),
        ("eng\tspa", True),
        ("ENGLISH\tspanish", True),
        ("tweet\tlabel", True),
        ("Review\tSentiment", True),
        ("user_prompt\tcompletion", True),
    ],
)
@pytest.mark.parametrize("name", ["a.tsv", "a.txt"])
def test_of_two_columns_between_tabs_only_names_in_use_are_a_header(tmp_path, name, first, is_header):
    found = columns(tmp_path, name, f"{first}\nOne.\tUno.\nTwo.\tDos.\n")
    assert len(found) == 3 - is_header
    assert list(found[0]) == (first.split("\t") if is_header else list(PAIR))
    assert without_header(name, tmp_path) == (() if is_header else (name,))


def test_the_task_says_whether_there_is_a_header(tmp_path):
    text = "Go.\tVe.\nOne.\tUno.\n"
    assert columns(tmp_path, "a.tsv", text, header=True) == [{"Go.": "One.", "Ve.": "Uno."}]
    assert columns(tmp_path, "a.csv", "go,ve\none,uno\n", header=False)[0] == {"source": "go", "target": "ve"}
    assert columns(tmp_path, "a.csv", "a,b,c\n1,2,3\n", header=False)[0]["column 3"] == "c"


def test_columns_that_the_task_names_are_found_in_a_header_of_any_words(tmp_path):
    text = "What do you say?\tYour mood (0-1)\n" + "".join(f"It is {n}.\t{n % 2}\n" for n in range(20))
    (tmp_path / "a.tsv").write_text(text)
    named = {"text": "What do you say?", "label": "Your mood (0-1)"}
    splits = load_splits(Task(name="t", train="a.tsv", columns=named), tmp_path)
    assert sum(map(len, splits.parts.values())) == 20
    assert splits.labels == ("0", "1")
    told = Task(name="t", train="a.tsv", header=False)
    assert sum(map(len, load_splits(told, tmp_path).parts.values())) == 21


def test_a_row_that_was_taken_for_a_header_with_a_name_twice_says_what_to_do(tmp_path):
    with pytest.raises(DataError, match=r"names 'yes' twice.*`header: false`"):
        read(tmp_path, "a.csv", "Is it,yes,yes\n")


# --- stray quotation marks -------------------------------------------------------------------------------------------


def table(damaged, rows=1000, mark=","):
    """``q5,a5`` and so on, with other lines at some places."""
    return (
        mark.join(["prompt", "completion"])
        + "\n"
        + "".join(damaged.get(n, f"q{n}{mark}a{n}") + "\n" for n in range(rows))
    )


@pytest.mark.parametrize(
    ("damaged", "bad"),
    [
        ({5: 'q5,"a5'}, [7]),
        ({5: 'q5,"a5', 900: 'q900,"a900'}, [7, 902]),
        ({5: 'q5,"a5', 900: 'q900,a900"'}, [7]),
        ({5: '"q5,a5', 900: 'q900",a900'}, [7]),
        ({5: '"q5,a5', 900: 'q900,a900"'}, [7]),
        ({0: 'q0,"a0', 999: 'q999,"a999'}, [2, 1001]),
        ({5: 'q5,"a5', 300: '"q3, 0",a300', 400: "one, two, three", 900: 'q900,a900"'}, [7, 402]),
    ],
)
def test_a_stray_quotation_mark_costs_its_own_line_alone(tmp_path, damaged, bad):
    rows, faults = read(tmp_path, "a.csv", table(damaged))
    assert [lines_of(told) for told in faults.listed] == [[line] for line in bad]
    assert [row.where for row in rows] == [f"a.csv, line {n}" for n in range(2, 1002) if n not in bad]


def test_a_stray_quotation_mark_in_the_header_costs_the_header(tmp_path):
    rows, faults = read(tmp_path, "a.csv", 'a,"b\n' + "Go.,Ve.\n" * 30 + 'Go.,Ve."\n')
    assert [lines_of(told) for told in faults.listed] == [[1]]
    assert len(rows) == 31


def test_a_field_over_many_lines_is_believed_unless_they_look_like_records(tmp_path):
    prose = [
        "First, we look.\nThen we think, and wait, and think.\n" * 400,
        "Paris, France\n" * 300,
        "\n" * 2000,
        "a,b\nc",
    ]
    text = io.StringIO()
    csv.writer(text).writerows([["prompt", "completion"], *[[f"{n}?", cell] for n, cell in enumerate(prose)]])
    assert [row["completion"] for row in columns(tmp_path, "a.csv", text.getvalue())] == prose


def test_a_table_of_the_same_width_inside_a_field_is_told_rather_than_guessed(tmp_path):
    inside = "The capitals:\n" + "".join(f"city {n},country {n}\n" for n in range(12)) + "x,y"
    _, faults = read(tmp_path, "a.csv", f'prompt,completion\nWhich?,"{inside}"\nGo.,Ve.\n')
    assert "line 2: found a quotation mark that runs over the records to line 15" in faults.listed[0]


def test_an_overlong_line_inside_a_field_is_not_cut_out_of_it(tmp_path):
    content = b'prompt,completion\nq,"a\n' + b"x" * (16 * 2**20 + 1) + b'\nb"\nGo.,Ve.\n'
    rows, faults = read(tmp_path, "a.csv", content)
    assert [row.columns["prompt"] for row in rows] == ["Go."]
    assert sorted(number for told in faults.listed for number in lines_of(told)) == [2, 3, 4]


CELL = st.text(alphabet='ab,;\t|"\n\r é', max_size=12)


@TIMES
@given(
    cells=st.lists(st.tuples(CELL, CELL), max_size=12),
    mark=st.sampled_from(",;\t|"),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_what_a_writer_wrote_is_read_back_whatever_its_cells_hold(tmp_path, cells, mark, end):
    rows = [pair for pair in cells if "".join(pair).strip()]
    text = io.StringIO()
    # Without quoting all, Python's writer leaves bare a carriage return that its own reader then refuses.
    quoting = csv.QUOTE_ALL if end == "\n" else csv.QUOTE_MINIMAL
    csv.writer(text, delimiter=mark, lineterminator=end, quoting=quoting).writerows([("prompt", "completion"), *rows])
    assert [tuple(row.values()) for row in columns(tmp_path, "a.csv", text.getvalue())] == rows


@TIMES
@given(
    text=st.lists(
        st.sampled_from(["q,a", 'q,"a', 'q",a', '"q,b",a', '"', '""', "q,a,b", "q", "", "\r", 'a"b,c', ",", "ñ,é"])
    ).map("\n".join)
)
@example(text='q,"a\nq,"a\n"q",a')
def test_rows_and_faults_account_for_every_line(tmp_path, text):
    """Each line is in the place of one row or fault, in order; the header and lines without a word are in none."""
    rows, faults = read(tmp_path, "a.csv", f"prompt,completion\n{text}\nlast,row\n")
    told = sorted(lines_of(row.where) for row in rows) + sorted(lines_of(told) for told in faults.listed)
    numbers = sorted(number for lines in told for number in lines)
    assert len(numbers) == len(set(numbers))
    words = {n for n, line in enumerate(f"\n{text}\nlast,row".split("\n"), start=1) if line.strip(' ,"\r')}
    assert words <= set(numbers)
    assert faults.count == len(faults.listed)


# --- odd lines, ends of lines, delimiters ----------------------------------------------------------------------------


def test_one_line_with_a_field_too_many_does_not_switch_quoting_on(tmp_path):
    lines = [f'"Go {n}," he said.\t"Ve {n}".' for n in range(30)]
    rows, faults = read(tmp_path, "a.tsv", "\n".join([*lines[:4], "a\tb\tc", *lines[4:]]))
    assert [f"{row.columns['source']}\t{row.columns['target']}" for row in rows] == lines
    assert faults.listed == ["a.tsv, line 5: found 3 fields, expected 2 (source, target)"]


def test_a_few_quoted_fields_over_two_lines_switch_quoting_on(tmp_path):
    text = "source\ttarget\n" + "Go.\tVe.\n" * 30 + '"Go.\nNow."\tVe.\n'
    assert columns(tmp_path, "a.tsv", text)[-1] == {"source": "Go.\nNow.", "target": "Ve."}


def test_one_line_with_a_tab_too_many_does_not_make_pairs_a_text(tmp_path):
    rows, faults = read(tmp_path, "a.txt", "Go.\tVe.\n" * 3 + "Go.\tVe.\t\n" + "Go.\tVe.\n" * 3)
    assert (len(rows), faults.count, list(rows[0].columns)) == (6, 1, ["source", "target"])
    for text in ("one\ttab", "\tIt was.\n\tIt is.\n", "a\tb\nprose\nprose\n"):
        assert columns(tmp_path, "b.txt", text) == [{"text": text}]


OBJECTS = [{"prompt": f"p{n}", "completion": "x"} for n in range(3)]


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n"])
def test_lines_may_end_as_on_any_machine(tmp_path, end):
    pairs = ["prompt{0}completion", *[f"p{n}{{0}}x" for n in range(3)]]
    for name, lines in {
        "a.csv": [line.format(",") for line in pairs],
        "b.csv": [line.format(";") for line in pairs],
        "a.tsv": [line.format("\t") for line in pairs],
        "pairs.txt": [line.format("\t") for line in pairs],
        "a.jsonl": [*map(json.dumps, OBJECTS)],
        "lines.json": [*map(json.dumps, OBJECTS)],
    }.items():
        assert columns(tmp_path, name, end.join([*lines, ""])) == OBJECTS, name
    assert columns(tmp_path, "a.txt", f"one{end}two")[0]["text"].split() == ["one", "two"]
    rows, _ = read(tmp_path, "a.csv", end.join(["prompt,completion", "a,b", "", "c,d"]))
    assert [row.where for row in rows] == ["a.csv, line 2", "a.csv, line 4"]


@pytest.mark.parametrize("before", ["sep=;\n", '"sep=;"\r\n', "\n  \n", "sep=;\n\n", "\ufeffsep=;\n", ""])
def test_what_stands_before_the_header_is_no_header(tmp_path, before):
    text = before + "prompt;completion\na, b, c;d\ne;f\n"
    assert columns(tmp_path, "a.csv", text) == [
        {"prompt": "a, b, c", "completion": "d"},
        {"prompt": "e", "completion": "f"},
    ]


def test_the_delimiter_is_what_the_lines_agree_on(tmp_path):
    assert columns(tmp_path, "a.csv", "id;text, short, or long;label\n1;It is, yes;no\n2;So;no\n")[1]["label"] == "no"
    assert columns(tmp_path, "a.csv", "size;price\n1,5;2,5\n3,5;4,5\n")[0] == {"size": "1,5", "price": "2,5"}
    assert columns(tmp_path, "a.csv", "text,label\na;b;c,x\n")[0] == {"text": "a;b;c", "label": "x"}


# --- JSON over several lines ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(OBJECTS, indent=2),
        json.dumps({"data": OBJECTS}, indent=2),
        "\n".join(json.dumps(row, indent=2) for row in OBJECTS),
    ],
)
@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.txt"])
def test_json_over_several_lines_is_read_whatever_the_file_is_called(tmp_path, name, text):
    assert columns(tmp_path, name, text) == OBJECTS


def test_json_over_several_lines_that_is_said_to_be_lines_is_told_so(tmp_path):
    _, faults = read(tmp_path, "a.jsonl", json.dumps(OBJECTS[0], indent=2), format="jsonl")
    assert "line 1: not JSON" in faults.listed[0]
    assert "JSON over several lines is `format: json`" in faults.listed[0]


# --- what lies beside data -------------------------------------------------------------------------------------------


def pack(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)


LINES = "\n".join(map(json.dumps, OBJECTS))
NOTES = {"README.md": "# Rows", "LICENSE": "MIT", "SOURCE.txt": "From there.", "make.py": "print()", "a.html": "<p>"}


def test_notices_beside_data_are_not_data(tmp_path):
    pack(tmp_path / "a.zip", {"data/a.jsonl": LINES, **NOTES})
    (tmp_path / "folder").mkdir()
    for name, text in {"a.jsonl": LINES, **NOTES}.items():
        (tmp_path / "folder" / name).write_text(text)
    for place in ("a.zip", "folder"):
        assert [dict(row.columns) for row in read_rows(place, tmp_path)] == OBJECTS
    assert [row.columns["text"] for row in read_rows("folder/*.md", tmp_path)] == ["# Rows"]


def test_a_format_chooses_among_files_of_an_archive(tmp_path):
    pack(tmp_path / "a.zip", {"a.jsonl": LINES, "notes.txt": "Some notes.", "b.csv": "prompt,completion\na,b\n"})
    with pytest.raises(
        DataError, match=r"several formats .*`format: jsonl` in the task only \.jsonl and \.ndjson files"
    ):
        list(read_rows("a.zip", tmp_path))
    assert len(list(read_rows("a.zip", tmp_path, layout=Layout("jsonl")))) == 3
    assert len(list(read_rows("a.zip", tmp_path, layout=Layout("csv")))) == 1
    assert [row.columns["text"] for row in read_rows("a.zip", tmp_path, layout=Layout("text"))] == ["Some notes."]


def test_an_empty_folder_says_so(tmp_path):
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / ".hidden").write_text("x")
    with pytest.raises(DataError, match="rows: holds no files"):
        list(read_rows("rows", tmp_path))


def test_a_label_is_a_whole_line_whatever_stands_in_it(tmp_path):
    (tmp_path / "labels.txt").write_bytes(b"good\tnews\r\nbad\tnews\r\n")
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps({"text": f"t{n}", "label": n % 2}) for n in range(20)))
    assert load_splits(Task(name="t", train="a.jsonl", labels="labels.txt"), tmp_path).labels == (
        "good\tnews",
        "bad\tnews",
    )
