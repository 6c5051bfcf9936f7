"""Rows that say themselves what their answer is chosen from."""

import csv

import pytest

from fairtune.data import Examples, Row, load_splits, recognise
from fairtune.data.rows import Faults
from fairtune.data.shapes import Reading, read_examples
from fairtune.errors import DataError
from fairtune.evaluate.metrics import METRICS, Facts, Outcome
from fairtune.study import Prompt, Task
from tests import tiny

CHOICES = ["red", "green", "blue"]


def read(row, **keys):
    faults = Faults()
    examples = list(read_examples([Row(row, "row 1")], Reading(**keys), faults))
    faults.settle("rows")
    return examples[0]


@pytest.mark.parametrize("answer", ["green", " green ", "B", "1", 1, 1.0])
@pytest.mark.parametrize("asked", ["question", "prompt"])
@pytest.mark.parametrize("right", ["answer", "label", "answerKey"])
def test_the_right_choice_is_told_by_text_letter_or_place(answer, asked, right):
    row = {asked: "Which?", "choices": CHOICES, right: answer}
    assert recognise(Row(row, "row 1")) == "multiple_choice"
    example = read(row)
    assert [message.content for message in example.messages] == ["Which?", "green"]
    assert example.choices == tuple(CHOICES)


@pytest.mark.parametrize(
    ("choices", "answer", "wanted"),
    [
        ({"text": CHOICES, "label": ["1", "2", "3"]}, "1", "red"),  # ARC: marks of its own, no places
        ({"text": CHOICES, "label": ["A", "B", "C"]}, "C", "blue"),
        ("['red', 'green', 'blue']", "2", "blue"),  # a cell of a table
        ([1, 2, 3], 2, "3"),  # a number of JSON is a place
        ([1, 2.5], "2.5", "2.5"),
        (["A", "B"], "B", "B"),  # both readings agree
    ],
)
def test_choices_are_read_as_data_sets_write_them(choices, answer, wanted):
    assert read({"question": "q", "choices": choices, "answer": answer}).answer == wanted


@pytest.mark.parametrize(
    ("choices", "answer", "words"),
    [
        (
            CHOICES,
            "yellow",
            "must be one of the 3 choices, by its text, its letter or its place from 0; found",
        ),
        (CHOICES, 3, "found 3"),
        (CHOICES, -1, "found -1"),
        (CHOICES, True, "found True"),
        (CHOICES, float("inf"), "found inf"),
        (CHOICES, 0.5, "found 0.5"),
        (CHOICES, None, "found None"),
        (["B", "A"], "A", "can mean 'B' or 'A'; say it by its letter, or as a number"),
        (["2", "1", "0"], "2", "can mean '2' or '0'"),
        (["one"], 0, "must be a list of two answers or more"),
        ([], 0, "must be a list of two answers or more"),
        (["a", ""], 0, "'choices' must be text that is not empty"),
        (["a", None], 0, "'choices' must be text that is not empty"),
        (["a", " a"], 0, "a choice stands twice"),
    ],
)
def test_what_says_no_choice_or_two_is_a_bad_row(choices, answer, words):
    with pytest.raises(DataError) as found:
        read({"question": "q", "choices": choices, "answer": answer}, shape="multiple_choice")
    assert words in str(found.value)


def test_a_template_may_show_the_choices_and_columns_have_other_names():
    row = {"ctx": "He", "endings": ["ran", "sat"], "label": "1"}
    template = Prompt(template="{ctx} …\n{choices}")
    example = read(row, prompt=template, columns={"choices": "endings"}, shape="multiple_choice")
    assert [message.content for message in example.messages] == ["He …\nran\nsat", "sat"]
    assert read(row, columns={"question": "ctx", "choices": "endings"}).question == "He"


def rows(count, choices):
    return [{"question": f"q {n}", "choices": choices, "answer": choices[n % 2]} for n in range(count)]


def test_choices_belong_to_the_data_but_not_to_an_item(tmp_path):
    found = []
    for choices in (["red", "green"], ["red", "green", "blue"]):
        tiny.write_jsonl(tmp_path / "rows.jsonl", rows(12, choices))
        found.append(load_splits(Task(name="t", train="rows.jsonl", validation=3, test=3), tmp_path))
    assert found[0].fingerprint() != found[1].fingerprint()
    assert [example.id for example in found[0].test] == [example.id for example in found[1].test]
    assert found[0].own_choices
    assert not found[0].label_sets


def test_choices_are_kept_on_disk():
    made = [read(row) for row in rows(5, CHOICES)]
    assert [example.choices for example in Examples.of(made, in_memory=0)] == [tuple(CHOICES)] * 5


def test_accuracy_is_the_share_of_right_choices():
    metric = METRICS["accuracy"].with_labels(())
    assert METRICS["accuracy"].fits(Facts(choices=True)) is None
    assert "the task has none" in METRICS["accuracy"].fits(Facts())
    assert "the task has none" in METRICS["f1_macro"].fits(Facts(choices=True))
    assert metric.objection("red, or not") is None
    outcomes = [Outcome("i", "p", "red", output=text) for text in ("red", " red\n", "Red", "")]
    assert [metric.item(outcome) for outcome in outcomes] == [(1.0, 1.0), (1.0, 1.0), (0.0, 1.0), (0.0, 1.0)]


def test_mmlu_is_read_and_the_few_rows_that_can_mean_two_choices_are_told(shared_data):
    """Its tables write places; where the choices are numbers themselves, ``2`` may be the text or the place."""
    faults, rows = Faults("skip"), []
    for path in sorted((shared_data / "mmlu" / "test").glob("a*.csv")):
        with path.open(newline="") as file:
            lines = list(csv.reader(file))[1:]
        rows += [Row({"question": line[0], "choices": line[1:5], "answer": line[5]}, path.name) for line in lines]
    assert len(list(read_examples(rows, Reading(), faults))) > 0.95 * len(rows)
    assert faults.listed
    assert all("can mean" in told or "stands twice" in told for told in faults.listed)
