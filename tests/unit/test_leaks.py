import gzip
import json
import random

import pytest

from fairtune.data import Leaks, Row, check_leaks, kept, load_splits, to_examples
from fairtune.data.leak_keys import LeakPart
from fairtune.errors import DataError
from fairtune.execute.leaks import find_leaks, leakage_of, refuse_leaks
from fairtune.study import Prompt, Task, load_task
from fairtune.tasks import TASKS
from tests import tiny

WORDS = [f"w{number}" for number in range(500)]


def pairs_of(*rows, system=None):
    made = [Row({"prompt": question, "completion": answer}, f"line {n}") for n, (question, answer) in enumerate(rows)]
    return to_examples(made, None, Prompt(system=system)) if made else []


def questions(count, seed=0, words=25):
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=words)) for _ in range(count)]


def parts(train, test=(), validation=()):
    return {"train": train, "validation": list(validation), "test": list(test)}


def counts(leaks, *between):
    return {o.kind: (o.pairs, len(o.ids)) for o in leaks.overlaps if o.between == between}


def test_each_pair_counts_once_under_its_sharpest_kind():
    texts = questions(4)
    train = pairs_of(*((text, "a") for text in texts))
    near = texts[3] + " more"
    test = pairs_of((texts[0], "a"), (texts[1], "b"), (f"  {texts[2].upper()}!", "a"), (near, "a"))
    found = check_leaks(parts(train, test))
    assert counts(found, "train", "test") == {"exact": (1, 1), "normalised": (2, 2), "near": (1, 1)}
    assert found.ids("train", "test") == tuple(example.id for example in test)
    assert found.duplicates == 0


def test_pairs_count_rows_and_ids_name_each_once():
    train = pairs_of(("q one", "a"), ("Q one", "a"), ("q one", "b"), ("other", "a"))
    test = pairs_of(("q one", "a"))
    assert counts(check_leaks(parts(train, test)), "train", "test") == {"exact": (1, 1), "normalised": (2, 1)}


def test_rows_that_repeat_an_earlier_one_are_duplicates():
    train = pairs_of(("q", "a"), ("q", "a"), ("Q!", " a"), ("q", "b"), ("r", "a"))
    found = check_leaks(parts(train))
    assert found.duplicates == 2
    assert counts(found, "train", "train") == {"exact": (1, 1), "normalised": (5, 2)}


def test_the_tasks_instruction_does_not_make_rows_alike_and_does_not_tell_them_apart():
    train = pairs_of(("one thing", "a"), system="Answer as briefly as you possibly can, in one word only, please now.")
    test = pairs_of(("another thing", "b"), ("one thing", "a"))
    found = check_leaks(parts(train, test))
    assert found.ids("train", "test") == (test[1].id,)


@pytest.mark.parametrize(
    "change",
    [
        str.upper,
        lambda text: text.replace(" ", "\n  "),
        lambda text: text.replace(" ", ", ") + "?!",
        lambda text: "“" + text.replace("w", "ｗ") + "”",
        lambda text: text.replace("w", "w\u200b"),
        lambda text: text + " and so on",
        lambda text: "Please tell me: " + text,
        lambda text: text.replace(text.split(" ")[0], "changed", 1),
    ],
)
def test_copies_with_changes_are_all_found(change):
    texts = questions(60)
    train = pairs_of(*((text, "a") for text in texts))
    test = pairs_of(*((change(text), "b") for text in texts[:20]), *((text, "a") for text in questions(20, seed=9)))
    assert check_leaks(parts(train, test)).ids("train", "test") == tuple(example.id for example in test[:20])


def test_clean_data_stay_clean():
    found = check_leaks(parts(*(pairs_of(*((t, t) for t in questions(200, seed))) for seed in range(3))))
    assert found.overlaps == ()
    assert (found.duplicates, found.examples) == (0, ())


def test_a_question_inside_an_answer_of_training_is_near_and_told_with_its_place():
    (asked,) = questions(1)
    train = pairs_of(("Make up a problem.", "Here is one. " + " ".join(questions(1, 5, 90)) + "\n" + asked))
    found = check_leaks(parts(train, pairs_of((asked, "a"))))
    assert counts(found, "train", "test") == {"near": (1, 1)}
    (pair,) = found.examples
    assert (pair.inside, pair.similarity) == (True, 1.0)
    assert asked in pair.texts[0]


def test_a_question_inside_a_long_document_is_found():
    draw = random.Random(0)
    words = draw.choices(WORDS, k=20_000)
    asked = " ".join(words[11_990:12_020])
    train = to_examples([tiny.row({"text": " ".join(words)})], None, Prompt())
    assert counts(check_leaks(parts(train, pairs_of((asked, "a")))), "train", "test") == {"near": (1, 1)}


def test_more_held_out_sets_are_sought_in_training_and_in_what_was_taken_out_of_it():
    rows = pairs_of(*((text, "a") for text in questions(30)))
    more = {"bench": rows[:3] + rows[25:]}
    found = check_leaks(parts(rows[:20], rows[20:27], rows[27:]), more, taken=("validation", "test"))
    assert len(found.ids("train", "bench")) == 3
    given = found.as_given()
    assert counts(given, "train", "bench") == {"exact": (8, 8)}
    assert {pair.between for pair in given.examples} == {("train", "bench")}


def test_a_result_is_read_as_it_was_written():
    rows = pairs_of(*((text, "a") for text in questions(5)))
    found = check_leaks(parts(rows, rows[:2]), taken=("validation",), left_out=3)
    assert Leaks.read(json.loads(json.dumps(found.plain()))) == found


# --- what is left out, refused, remembered and recorded ------------------------------------------------------------


def test_rows_near_to_an_item_taken_out_of_the_same_data_are_left_out_of_training(tmp_path):
    texts = questions(40)
    rows = [{"prompt": text + end, "completion": "a"} for text in texts for end in ("", " indeed", "!")]
    tiny.write_jsonl(tmp_path / "rows.jsonl", rows)
    task = Task(name="t", train="rows.jsonl", test=12, validation=6)
    splits = load_splits(task, tmp_path)
    assert splits.left_out > 0
    assert len(splits.train) + len(splits.validation) + len(splits.test) + splits.left_out == len(rows)
    found = find_leaks(task, splits, splits.fingerprint())
    assert found.ids("train", "test") == found.ids("train", "validation") == ()
    assert leakage_of(found, False).left_out == splits.left_out
    refuse_leaks(task, found, allowed=False)


def test_a_split_that_leaves_no_training_row_is_refused(tmp_path):
    (text,) = questions(1)
    rows = [{"prompt": f"{text} {word}", "completion": "a"} for word in ("one", "two", "three", "four")]
    tiny.write_jsonl(tmp_path / "rows.jsonl", rows)
    with pytest.raises(DataError, match="every training row is nearly the same"):
        load_splits(Task(name="t", train="rows.jsonl", test=1, validation=1), tmp_path)


def test_a_document_is_never_left_out_for_what_its_own_end_says(tmp_path):
    (tmp_path / "song.txt").write_text("la la la and so it goes on " * 300)
    splits = load_splits(Task(name="t", train="song.txt", test=0.2, validation=0.1), tmp_path)
    assert (len(splits.train), splits.left_out) == (1, 0)


def test_what_fairtune_takes_out_of_the_shipped_task_leaves_nothing_out():
    task = load_task(TASKS["cldr-spanish"])
    splits = load_splits(task, TASKS["cldr-spanish"].parent)
    assert (splits.left_out, splits.fingerprint()) == (0, "df3e2842e4eea039")
    assert find_leaks(task, splits, splits.fingerprint()).overlaps == ()


def given(folder, test, **keys):
    rows = [{"prompt": text, "completion": "a"} for text in questions(30)]
    tiny.write_jsonl(folder / "train.jsonl", rows)
    tiny.write_jsonl(folder / "test.jsonl", test(rows))
    task = Task(name="t", train="train.jsonl", test="test.jsonl", **keys)
    splits = load_splits(task, folder)
    return task, splits, find_leaks(task, splits, splits.fingerprint())


def test_a_given_test_file_that_is_trained_on_is_refused_with_the_list(tmp_path):
    task, _, found = given(tmp_path, lambda rows: rows[:14], validation=4)
    with pytest.raises(DataError) as refused:
        refuse_leaks(task, found, allowed=False)
    text = str(refused.value)
    assert "14 of 14 test items stand in the training data (14 exact)" in text
    assert text.count("  exact:") == 10
    assert "and more" in text
    refuse_leaks(task, found, allowed=True)


def test_validation_items_that_are_trained_on_are_told_and_stop_nothing(tmp_path):
    tiny.write_jsonl(tmp_path / "same.jsonl", [{"prompt": text, "completion": "a"} for text in questions(5)])
    task, _, found = given(tmp_path, lambda rows: [{"prompt": "else", "completion": "a"}], validation="same.jsonl")
    refuse_leaks(task, found, allowed=False)
    leakage = leakage_of(found, False)
    assert (leakage.validation_in_train, leakage.test_in_train) == (5, 0)
    assert leakage.kinds("train", "validation") == "5 exact"


def test_passages_of_a_given_test_text_are_refused(tmp_path):
    words = random.Random(0).choices(WORDS, k=400)
    (tmp_path / "train.txt").write_text(" ".join(words))
    (tmp_path / "test.txt").write_text(" ".join([*WORDS[:100], *words[100:160]]))
    task = Task(name="t", train="train.txt", test="test.txt", validation=0.1)
    splits = load_splits(task, tmp_path)
    found = find_leaks(task, splits, splits.fingerprint())
    with pytest.raises(DataError, match="4 passages of the test text stand in the training data"):
        refuse_leaks(task, found, allowed=False)


def test_a_check_is_done_once_for_the_same_data(tmp_path, monkeypatch):
    monkeypatch.setenv("FAIRTUNE_CACHE", str(tmp_path / "cache"))
    task, splits, found = given(tmp_path, lambda rows: rows[:3], validation=2)
    monkeypatch.setattr("fairtune.execute.leaks.check_leaks", lambda *_, **__: pytest.fail("checked again"))
    assert find_leaks(task, splits, splits.fingerprint()) == found
    (memory,) = (tmp_path / "cache" / "leaks").iterdir()
    memory.write_text("{")
    with pytest.raises(pytest.fail.Exception):
        find_leaks(task, splits, splits.fingerprint())


def test_a_part_that_is_too_large_to_be_compared_with_itself_says_so(monkeypatch):
    monkeypatch.setattr("fairtune.data.leak_matches._WITHIN_WORDS", 100)
    found = check_leaks(parts(pairs_of(*((text, "a") for text in questions(20)))))
    (overlap,) = found.overlaps
    assert (overlap.kind, overlap.pairs) == ("near", None)
    assert "at most 100 words" in overlap.reason


def test_more_near_pairs_than_anybody_looks_at_are_not_counted(monkeypatch):
    monkeypatch.setattr("fairtune.data.near.MOST", 2)
    (text,) = questions(1)
    rows = pairs_of(*((f"{text} {word}", "a") for word in WORDS[:4]))
    found = check_leaks(parts(rows[:2], rows[2:]))
    near = [overlap for overlap in found.overlaps if overlap.between == ("train", "test")]
    assert [overlap.pairs for overlap in near] == [None]
    assert near[0].ids
    assert near[0].reason
    with pytest.raises(DataError, match="give these parts as files"):
        kept(rows[:2], rows[2:])


def sides(seed=0):
    """Training rows, and held-out rows of which every other one is a copy with a word more."""
    texts = questions(40, seed)
    held_out = [
        f"{text} more" if place % 2 else other
        for place, (text, other) in enumerate(zip(texts, questions(40, 7), strict=True))
    ]
    return pairs_of(*((text, "a") for text in texts)), pairs_of(*((text, "a") for text in held_out))


def test_held_out_rows_in_blocks_give_what_they_give_at_once(monkeypatch):
    train, held_out = sides()
    whole = check_leaks(parts(train, held_out))
    assert counts(whole, "train", "test") == {"near": (20, 20)}
    monkeypatch.setattr("fairtune.data.leak_matches._INDEXED", 60)
    assert check_leaks(parts(train, held_out)) == whole


def test_texts_come_in_blocks_of_so_many_words_and_none_is_lost():
    texts = LeakPart.of("test", pairs_of(*((text, "a") for text in questions(10)))).questions
    blocks = list(texts.blocks(60))
    assert [(start, len(block)) for start, block in blocks] == [(0, 3), (3, 3), (6, 3), (9, 1)]
    assert [text for _, block in blocks for text in block] == list(texts)


def test_beyond_the_bound_near_rows_are_not_counted_and_the_reason_says_why(monkeypatch):
    monkeypatch.setattr("fairtune.data.leak_matches._SOUGHT_IN", 1_000)
    train, held_out = sides()
    found = check_leaks(parts([*train, held_out[0]], held_out))
    exact, near = (overlap for overlap in found.overlaps if overlap.between == ("train", "test"))
    assert (exact.kind, exact.pairs) == ("exact", 1)
    assert (near.kind, near.pairs, near.ids) == ("near", None, ())
    assert "at most 1,000 words" in near.reason
    assert leakage_of(found, False).overlaps[-1].reason == near.reason


def test_beyond_the_bound_rows_that_ask_the_same_are_still_left_out(monkeypatch):
    train, held_out = sides()
    same = pairs_of((train[0].question.upper(), "b"))
    assert kept(train, same, held_out).sum() == 19
    monkeypatch.setattr("fairtune.data.leak_matches._SOUGHT_IN", 1_000)
    # What is remembered is asked for by the same rows.
    assert kept(train, same, held_out[:-1]).sum() == 39


def test_a_result_remembered_from_another_file_is_told_with_this_files_lines(tmp_path, monkeypatch):
    monkeypatch.setenv("FAIRTUNE_CACHE", str(tmp_path / "cache"))
    told = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        task, splits, found = given(tmp_path / name, lambda rows: [rows[3], rows[5]], validation=4)
        told.append(found)
        if name == "one":
            monkeypatch.setattr("fairtune.execute.leaks.check_leaks", lambda *_, **__: pytest.fail("checked again"))
            rows = [line + "\n\n" for line in (tmp_path / name / "train.jsonl").read_text().splitlines()]
    (tmp_path / "two" / "train.jsonl").write_text("".join(rows))
    splits = load_splits(task, tmp_path / "two")
    found = find_leaks(task, splits, splits.fingerprint())
    lines = {example.id: example.where for example in [*splits.train, *splits.validation]}
    assert found.examples
    assert all(pair.where[0] == lines[pair.ids[0]] for pair in found.examples)
    assert found.examples[0].where != told[0].examples[0].where
    assert found.examples[0].texts == told[0].examples[0].texts


# --- real data -----------------------------------------------------------------------------------------------------


def alpaca(shared_data, count):
    with gzip.open(shared_data / "alpaca" / "alpaca_52k.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(next(file)) for _ in range(count)]
    return pairs_of(*((f"{row['instruction']}\n{row['input']}".strip(), row["output"] or "–") for row in rows))


def test_real_rows_drawn_from_training_are_found_and_others_are_not(shared_data):
    rows = alpaca(shared_data, 2_000)
    drawn = random.Random(0).sample(rows[:1_500], 100)
    found = check_leaks(parts(rows[:1_500], [*drawn, *rows[1_500:]]))
    assert counts(found, "train", "test")["exact"] == (100, 100)
    assert len(found.ids("train", "test")) <= 103


def test_real_questions_of_a_published_split_do_not_leak(shared_data):
    read = {}
    for name in ("train", "test"):
        lines = (shared_data / "gsm8k" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        read[name] = pairs_of(*((row["question"], row["answer"]) for row in map(json.loads, lines)))
    assert check_leaks(parts(read["train"][:3_000], read["test"])).ids("train", "test") == ()


def test_a_part_reads_rows_of_several_parts_in_order():
    rows = pairs_of(*((text, "a") for text in questions(5)))
    whole = LeakPart.together([LeakPart.of("train", rows[:2]), LeakPart.of("x", []), LeakPart.of("test", rows[2:])])
    assert list(whole.rows) == rows
    assert whole.question.tolist() == LeakPart.of("train", rows).question.tolist()
