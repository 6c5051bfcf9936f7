"""Rows of every shape become conversations; real rows where they are at hand."""

import json
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairtune.data import SHAPES, Row, load_splits, read_rows, recognise
from fairtune.data.rows import Faults
from fairtune.data.shapes import Reading, labels, read_examples
from fairtune.errors import DataError
from fairtune.study import Prompt, Task
from tests import tiny


def turns(row, **keys):
    faults = Faults()
    examples = list(read_examples([Row(row, "row 1")], Reading(**keys), faults))
    faults.settle("rows")
    return [(message.role, message.content) for message in examples[0].messages]


def chat(*contents):
    return list(zip(["user", "assistant"] * len(contents), contents, strict=False))


MESSAGES = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]


@pytest.mark.parametrize(
    ("shape", "columns", "wanted"),
    [
        ("prompt_completion", {"prompt": "q", "completion": "a"}, chat("q", "a")),
        ("prompt_completion", {"question": "q", "answer": "a"}, chat("q", "a")),
        ("prompt_completion", {"id": 1, "query": "q", "response": "a"}, chat("q", "a")),
        ("alpaca", {"instruction": "do", "input": "this", "output": "a"}, chat("do\n\nthis", "a")),
        ("alpaca", {"instruction": "do", "input": "", "output": "a"}, chat("do", "a")),
        ("alpaca", {"instruction": "do", "output": "a"}, chat("do", "a")),
        ("orca", {"system_prompt": "s", "question": "q", "response": "a"}, [("system", "s"), *chat("q", "a")]),
        ("orca", {"system_prompt": "", "question": "q", "response": "a"}, chat("q", "a")),
        ("pairs", {"source": "Go.", "target": "Ve."}, chat("Go.", "Ve.")),
        ("pairs", {"translation": {"en": "Go.", "es": "Ve."}}, chat("Go.", "Ve.")),
        ("prompt_completion", {"Question": "q", "ANSWER": "a"}, chat("q", "a")),
        ("pairs", {"id": 7, "English": "Go.", "es": "Ve."}, chat("Go.", "Ve.")),
        ("alpaca", {"instruction": "do", "context": "this", "response": "a", "text": "t"}, chat("do\n\nthis", "a")),
        ("messages", {"messages": MESSAGES}, chat("q", "a")),
        (
            "messages",
            {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}] * 2},
            chat("q", "a", "q", "a"),
        ),
        (
            "messages",
            {
                "messages": [
                    {"role": "system", "content": ""},
                    {"role": "user", "content": [{"type": "text", "text": "q"}]},
                    {"role": "assistant", "content": "a"},
                ]
            },
            chat("q", "a"),
        ),
        ("text", {"text": "a document"}, [("assistant", "a document")]),
    ],
)
def test_every_shape_is_recognised_and_becomes_a_conversation(shape, columns, wanted):
    assert recognise(Row(columns, "row 1")) == shape
    assert turns(columns) == turns(columns, shape=shape) == wanted


def test_a_study_may_name_every_shape_and_no_other():
    assert set(SHAPES) == set(get_args(get_args(Task.model_fields["shape"].annotation)[0]))


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"instruction": "do", "output": None}, "'output' must be text that is not empty, found None"),
        ({"system_prompt": "s", "question": 3, "response": "a"}, "'question' must be text that is not empty, found 3"),
        ({"translation": {"en": "Go."}}, "must hold two languages"),
        ({"conversations": [{"from": "tool", "value": "q"}]}, r"conversations\[0\] needs a role"),
        ({"conversations": [{"from": "human", "value": "q"}]}, "no answer: the last turn is the user's"),
        ({"messages": [{"role": "assistant", "content": "a"}]}, "no question"),
        ({"prompt": "\ud800", "completion": "a"}, "half a character"),
        ({"text": "a", "label": None}, "'label' must be a name"),
        ({"text": "a", "labels": ["x", "x"]}, "a label stands twice"),
        ({"text": "a", "label": "z"}, "label 'z' is not in the set: x, y"),
    ],
)
def test_what_is_missing_in_a_row_is_told(columns, words):
    with pytest.raises(DataError, match=words):
        turns(columns, labels=("x", "y"))


def test_columns_of_other_names_are_told_by_the_task():
    columns = {"frage": "q", "antwort": "a"}
    assert turns(columns, columns={"prompt": "frage", "completion": "antwort"}) == chat("q", "a")
    with pytest.raises(DataError, match=r"columns frage, antwort fit no known shape.*`columns:`"):
        turns(columns)
    with pytest.raises(DataError, match="column 'fragen', named under `columns:` in the task, is missing"):
        turns(columns, shape="prompt_completion", columns={"prompt": "fragen"})


def test_a_template_may_use_any_column_and_needs_no_other_prompt():
    row = {"context": "c", "title": "t", "answer": "a"}
    assert turns(row, prompt=Prompt(template="{title}: {context}")) == chat("t: c", "a")


def test_rows_of_another_shape_among_the_first_are_told(tmp_path):
    rows = [*tiny.rows(9), {"instruction": "do", "output": "x"}]
    tiny.write_jsonl(tmp_path / "a.jsonl", rows)
    words = r"line 10: found columns instruction, output, as of alpaca; expected prompt_completion \(recognised from"
    with pytest.raises(DataError, match=words):
        load_splits(Task(name="t", train="a.jsonl"), tmp_path)


def test_an_id_that_stands_twice_is_told_with_both_places(tmp_path):
    tiny.write_jsonl(tmp_path / "a.jsonl", [{"id": n % 4, **row} for n, row in enumerate(tiny.rows(5))])
    with pytest.raises(DataError, match=r"line 5: id 0 stands in an earlier row already"):
        load_splits(Task(name="t", train="a.jsonl"), tmp_path)


# --- labels --------------------------------------------------------------------------------------------------------

NAMES = ["anger", "fear", "joy", "joy, mixed", "a; b", "none"]


@given(st.lists(st.sampled_from(NAMES), min_size=2, unique=True), st.data())
def test_an_answer_names_its_labels_in_the_order_of_the_set_and_can_be_read_back(names, data):
    chosen = data.draw(st.lists(st.sampled_from(names), unique=True))
    answer = labels.render(chosen, names)
    assert answer == labels.render(reversed(chosen), names)
    assert labels.parse(answer, names) == ([name for name in names if name in chosen], [])


def test_what_is_no_label_is_told_apart():
    assert labels.parse("fear, hope", ["fear", "joy"]) == (["fear"], ["hope"])
    assert labels.render([], ["fear", "joy"]) == "none"
    assert labels.render([], ["fear", "none"]) == "no label"


def test_the_label_set_is_the_tasks_a_files_or_the_training_rows(tmp_path):
    rows = [{"text": f"t{n}", "label": "negative" if n % 2 else "positive"} for n in range(8)]
    tiny.write_jsonl(tmp_path / "a.jsonl", rows)
    (tmp_path / "labels.txt").write_text("positive\nnegative\n")
    for given_set, wanted in [
        (None, ("negative", "positive")),
        (["positive", "negative", "neutral"], ("positive", "negative", "neutral")),
        ("labels.txt", ("positive", "negative")),
    ]:
        task = Task(
            name="t", train="a.jsonl", test=2, validation=1, labels=given_set, prompt={"system": "One of: {labels}"}
        )
        splits = load_splits(task, tmp_path)
        assert splits.labels == wanted
        assert splits.train[0].messages[0].content == f"One of: {', '.join(wanted)}"


def test_a_number_stands_for_the_label_at_its_place(tmp_path):
    tiny.write_jsonl(tmp_path / "a.jsonl", [{"sentence": f"t{n}", "label": n % 2} for n in range(8)])
    named = load_splits(Task(name="t", train="a.jsonl", labels=["bad", "good"]), tmp_path)
    assert {(e.question, e.answer) for e in named.train} <= {(f"t{n}", ["bad", "good"][n % 2]) for n in range(8)}
    assert {e.answer for e in load_splits(Task(name="t", train="a.jsonl"), tmp_path).train} == {"0", "1"}


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (True, ["true"]),
        (1.0, ["1"]),
        ('["a", "b"]', ["a", "b"]),
        ("['a', 'b']", ["a", "b"]),
        ("[a", ["[a"]),
        ([], []),
        (" a ", ["a"]),
    ],
)
def test_labels_are_read_as_tables_write_them(value, wanted):
    assert labels.names({"label": value}) == wanted


def test_a_number_is_no_place_where_labels_are_numbers(tmp_path):
    tiny.write_jsonl(tmp_path / "a.jsonl", [{"text": f"t{n}", "label": [1, 2, 4, 5][n % 4]} for n in range(12)])
    tiny.write_jsonl(tmp_path / "b.jsonl", [{"text": "u", "label": 0}])
    with pytest.raises(DataError, match=r"b\.jsonl, line 1: label '0' is not in the set: 1, 2, 4, 5"):
        load_splits(Task(name="t", train="a.jsonl", test="b.jsonl"), tmp_path)


def test_ids_differ_by_what_they_are_not_by_their_hash():
    rows = [
        Row({"id": own, "prompt": f"q{n}", "completion": "a"}, f"row {n}") for n, own in enumerate([-1, -2, "-1", 0])
    ]
    faults = Faults()
    assert len(list(read_examples(rows, Reading(), faults))) == 4
    assert not faults.count


def test_a_label_outside_the_training_rows_is_told_in_the_test_file(tmp_path):
    tiny.write_jsonl(tmp_path / "a.jsonl", [{"text": f"t{n}", "labels": ["x"] * (n % 2) + ["y"]} for n in range(8)])
    tiny.write_jsonl(tmp_path / "b.jsonl", [{"text": "u", "labels": ["z"]}])
    with pytest.raises(DataError, match=r"b\.jsonl, line 1: label 'z' is not in the set: x, y"):
        load_splits(Task(name="t", train="a.jsonl", test="b.jsonl"), tmp_path)


# --- splits --------------------------------------------------------------------------------------------------------


@given(st.integers(0, 10_000))
def test_rows_that_are_added_move_none_of_the_old_ones(seed):
    rows, more = tiny.rows(40, seed), tiny.rows(60, seed)[40:]
    before, after = (_sides(some) for some in (rows, rows + more))
    assert all(after[name] == side for name, side in before.items())


def _sides(rows):
    from fairtune.data import Examples, to_examples
    from fairtune.data.split import take

    taken, left = take(Examples(to_examples([Row(row, "") for row in rows], None, Prompt())), 0.3, "test")
    return {e.id: True for e in taken} | {e.id: False for e in left}


def test_no_group_stands_on_both_sides(tmp_path):
    rows = [{**row, "author": f"author {n % 7}"} for n, row in enumerate(tiny.rows(70))]
    tiny.write_jsonl(tmp_path / "a.jsonl", rows)
    splits = load_splits(Task(name="t", train="a.jsonl", test=0.3, validation=15, group="author"), tmp_path)
    sides = [{example.group for example in part} for part in splits.parts.values()]
    assert sum(map(len, sides)) == len(set.union(*sides)) == 7
    with pytest.raises(
        DataError, match="'editor', the group of the split, is None; there are prompt, completion, author"
    ):
        load_splits(Task(name="t", train="a.jsonl", group="editor"), tmp_path)


# --- examples on disk ------------------------------------------------------------------------------------------------


def test_examples_on_disk_are_the_examples_in_memory():
    from fairtune.data import Examples

    made = [*tiny.examples(2_500), *tiny.examples(40)]
    near, far = Examples.of(made), Examples.of(iter(made), in_memory=500)
    assert type(far._stored) is not list
    for examples in (near, far):
        named = examples.named_once()
        assert list(examples) == made
        assert len({example.id for example in named}) == len(made)
        assert named[2_500].id == f"{made[0].id}-2"
        assert [example.where for example in named[2_400:2_402]] == ["row 2400", "row 2401"]
        assert examples[5:9][1] == made[6]
    assert (near.hashes(lambda e: e.question) == far.hashes(lambda e: e.question)).all()


# --- real rows -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "keys", "shape", "count", "question", "answer"),
    [
        ("alpaca/alpaca_52k.jsonl.gz", {}, "alpaca", 51_974, "Give three tips for staying", "1.Eat a balanced diet"),
        ("eng_spa/spa-eng.zip", {}, "pairs", 118_964, "Go.", "Ve."),
        ("gsm8k/train.jsonl", {}, "prompt_completion", 7_473, "Natalia sold clips to 48", "Natalia sold 48/2"),
        (
            "leetcode/LeetCodeDataset-v0.2.0-train.jsonl.gz",
            {"columns": {"prompt": "query"}},
            "prompt_completion",
            1_890,
            "Given an array of integers nums",
            "class Solution:",
        ),
        ("mmlu/dev", {}, "prompt_completion", 285, "Find all c in Z_3", "1"),
        ("tinyshakespeare/input.txt", {}, "text", 1, "", "First Citizen:"),
        ("wikitext2/valid.txt", {}, "text", 1, "", " \n = Homarus gammarus ="),
    ],
)
def test_real_rows_are_read_without_configuration(shared_data, place, keys, shape, count, question, answer):
    faults = Faults("skip")
    rows = list(read_rows(place, shared_data, faults))
    assert recognise(rows[0], Reading(**keys)) == shape
    examples = list(read_examples(rows, Reading(**keys), faults))
    assert len(examples) == count
    assert len(examples) + faults.count == len(rows)
    assert examples[0].question.startswith(question)
    assert examples[0].answer.startswith(answer)


def test_the_memes_of_semeval_are_read_with_all_their_labels(shared_data):
    folder = shared_data / "semeval2021_task6"
    task = Task(
        name="memes",
        train="training_set_task1.txt",
        validation="dev_set_task1.txt",
        test="test_set_task1.txt",
        labels="techniques_list_task1-2.txt",
    )
    splits = load_splits(task, folder)
    assert {name: len(part) for name, part in splits.parts.items()} == {"train": 688, "validation": 63, "test": 200}
    assert len(splits.labels) == 20
    gold = json.loads((folder / task.test).read_text())
    for example, item in zip(splits.test, gold, strict=True):
        assert example.question == item["text"]
        assert labels.parse(example.answer, splits.labels) == ([n for n in splits.labels if n in item["labels"]], [])
    assert load_splits(task.model_copy(update={"labels": None}), folder).labels == tuple(sorted(splits.labels))
