"""`fairtune init`: whatever the shape, the study it writes is one that can be run."""

import pytest
import yaml

from fairtune.data import load_splits
from fairtune.data.starter import starter_study
from fairtune.errors import DataError
from fairtune.execute import vocabulary
from fairtune.study import load_study
from tests import tiny

NUMBERS = range(12)
ROWS = {
    "prompt_completion": [{"question": f"q{n}", "answer": f"a{n}"} for n in NUMBERS],
    "alpaca": [{"instruction": f"do {n}", "input": "", "output": f"a{n}"} for n in NUMBERS],
    "orca": [{"id": n, "system_prompt": "", "question": f"q{n}", "response": f"a{n}"} for n in NUMBERS],
    "pairs": [{"source": f"q{n}", "target": f"a{n}"} for n in NUMBERS],
    "messages": [
        {"messages": [{"role": "user", "content": f"q{n}"}, {"role": "assistant", "content": "a"}]} for n in NUMBERS
    ],
    "multiple_choice": [{"question": f"q{n}", "choices": ["a", "b"], "answer": "AB"[n % 2]} for n in NUMBERS],
    "labels": [{"text": f"t{n}", "labels": ['a "b"', "c: d", "no"][: n % 4]} for n in NUMBERS],
}


@pytest.mark.parametrize("shape", ROWS)
def test_the_study_for_rows_of_any_shape_can_be_run(tmp_path, shape):
    tiny.write_jsonl(tmp_path / "my rows.jsonl", ROWS[shape])
    (tmp_path / "study.yaml").write_text(starter_study(str(tmp_path / "my rows.jsonl"), tmp_path / "study.yaml").text)
    loaded = load_study(tmp_path / "study.yaml", vocabulary())
    assert loaded.task.shape == shape
    splits = load_splits(loaded.task, loaded.task_root)
    assert sum(map(len, splits.parts.values())) == len(ROWS[shape])
    if shape == "labels":
        assert splits.labels == ('a "b"', "c: d", "no")
        assert splits.train[0].messages[0].content.endswith("c: d, no")


def test_rows_that_cannot_be_used_are_told_and_left_out(tmp_path):
    tiny.write_jsonl(tmp_path / "a.jsonl", [*tiny.rows(10), {"prompt": "q", "completion": ""}])
    text = starter_study(str(tmp_path / "a.jsonl"), tmp_path / "study.yaml").text
    assert yaml.safe_load(text)["task"]["on_bad_rows"] == "skip"
    assert "1 rows cannot be used; the first: a.jsonl, line 11: 'completion' must be text that is not empty" in text


def test_a_packed_file_a_folder_and_a_pattern_are_looked_at_too(tmp_path):
    (tmp_path / "some").mkdir()
    for part in (0, 1):
        tiny.write_jsonl(tmp_path / "some" / f"{part}.jsonl", tiny.rows(20)[10 * part : 10 * part + 10])
    for place in ("some", "some/*.jsonl"):
        text = starter_study(str(tmp_path / place), tmp_path / "study.yaml").text
        (tmp_path / "study.yaml").write_text(text)
        assert "20 rows" in text
        loaded = load_study(tmp_path / "study.yaml", vocabulary())
        assert sum(map(len, load_splits(loaded.task, loaded.task_root).parts.values())) == 20


def test_what_a_writer_should_look_at_first_is_told(tmp_path):
    rows = [{"prompt": "import math", "completion": f"c{n}", "query": f"q{n}", "response": f"r{n}"} for n in NUMBERS]
    rows[0]["prompt"], rows[1]["prompt"] = "other", "another"
    tiny.write_jsonl(tmp_path / "a.jsonl", rows)
    found = starter_study(str(tmp_path / "a.jsonl"), tmp_path / "study.yaml")
    assert "columns that are not used: query, response" in found.remarks[0]
    assert "12 rows ask only 3 different questions" in found.remarks[1]
    assert all(f"# NOTE: {remark}" in found.text for remark in found.remarks)


def test_columns_of_other_names_are_named_in_the_study(tmp_path):
    tiny.write_jsonl(tmp_path / "a.jsonl", [{"Frage": f"q{n}", "Antwort (kurz)": "a"} for n in NUMBERS])
    chosen = {"prompt": "Frage", "completion": "Antwort (kurz)"}
    with pytest.raises(DataError, match="fit no known shape"):
        starter_study(str(tmp_path / "a.jsonl"), tmp_path / "study.yaml")
    (tmp_path / "study.yaml").write_text(starter_study(str(tmp_path / "a.jsonl"), tmp_path / "study.yaml", chosen).text)
    loaded = load_study(tmp_path / "study.yaml", vocabulary())
    assert loaded.task.columns == chosen
    assert load_splits(loaded.task, loaded.task_root).train[0].answer == "a"


def test_too_few_rows_to_be_split_are_refused(tmp_path):
    tiny.write_jsonl(tmp_path / "a.jsonl", [{"prompt": "q", "completion": "a"}] * 20)
    with pytest.raises(DataError, match="20 rows ask 1 different questions"):
        starter_study(str(tmp_path / "a.jsonl"), tmp_path / "study.yaml")


def test_half_a_character_in_a_columns_name_is_written_as_its_number(tmp_path):
    (tmp_path / "a.jsonl").write_text(
        "".join(f'{{"\\ud800": 1, "prompt": "q{n}", "completion": "a"}}\n' for n in NUMBERS)
    )
    assert "\\ud800" in starter_study(str(tmp_path / "a.jsonl"), tmp_path / "study.yaml").text
