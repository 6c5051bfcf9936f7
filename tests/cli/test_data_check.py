"""``fairtune data check`` and what a study does with what it finds."""

import json
import random

import pytest
import yaml

from tests import tiny
from tests.cli.command import inside

WORDS = [f"w{number}" for number in range(300)]


@pytest.fixture
def folder(tmp_path):
    draw = random.Random(0)
    rows = [{"prompt": " ".join(draw.choices(WORDS, k=20)), "completion": "a"} for _ in range(60)]
    tiny.write_jsonl(tmp_path / "train.jsonl", [*rows, rows[0], {**rows[1], "prompt": rows[1]["prompt"].upper()}])
    copies = [*rows[5:8], {"prompt": rows[9]["prompt"] + "?", "completion": "a"}]
    near = [{"prompt": rows[11]["prompt"] + " too", "completion": "a"}]
    new = [{"prompt": " ".join(draw.choices(WORDS, k=20)), "completion": "a"} for _ in range(6)]
    tiny.write_jsonl(tmp_path / "leaky.jsonl", [*copies, *near, *new])
    tiny.write_jsonl(tmp_path / "clean.jsonl", new)
    for name in ("leaky", "clean"):
        task = {"name": "t", "train": "train.jsonl", "test": f"{name}.jsonl", "validation": 6}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(task))
    return tmp_path


def checked(folder, *arguments):
    result = inside("data", "check", *arguments, "--json", cwd=folder)
    return result.returncode, json.loads(result.stdout)


def pairs(document, second):
    return {o["kind"]: (o["pairs"], len(o["ids"])) for o in document["overlaps"] if o["between"] == ["train", second]}


def test_a_leaky_test_file_is_told_by_kind_with_its_ids(folder):
    code, document = checked(folder, "leaky.yaml")
    assert code == 1
    assert pairs(document, "test") == {"exact": (3, 3), "normalised": (1, 1), "near": (1, 1)}
    assert document["duplicates"] == 2
    assert document["rows"]["test"] == 11
    assert {"between", "kind", "ids", "where", "texts", "similarity"} <= set(document["examples"][0])


def test_clean_data_end_with_0(folder):
    code, document = checked(folder, "clean.yaml")
    assert code == 0
    assert pairs(document, "test") == {}


def test_a_file_of_rows_is_held_against_others_as_a_whole(folder):
    code, document = checked(folder, "train.jsonl", "--against", "leaky.jsonl", "--against", "clean.jsonl")
    assert code == 1
    assert sum(count for count, _ in pairs(document, "leaky.jsonl").values()) == 5
    assert pairs(document, "clean.jsonl") == {}


def test_people_see_pairs_side_by_side(folder):
    result = inside("data", "check", "leaky.yaml", cwd=folder)
    assert result.returncode == 1
    assert "train: " in result.stdout
    assert "normalised" in result.stdout
    assert "leaky.jsonl, line 4" in result.stdout
    assert "allow_leakage" in result.stdout
    assert "No test item stands in the training data." in inside("data", "check", "clean.yaml", cwd=folder).stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("none.jsonl",), "no such file"),
        (("clean.yaml", "--against", "none.jsonl"), "no such file"),
        (("clean.yaml", "--against", "test"), "a part of the task has this name"),
        (("none.yaml",), "none.yaml"),
    ],
)
def test_a_wrong_request_ends_with_2(folder, arguments, words):
    result = inside("data", "check", *arguments, cwd=folder)
    assert result.returncode == 2
    assert words in result.stderr


def test_the_shipped_task_is_clean(tmp_path):
    code, document = checked(tmp_path, "cldr-spanish")
    assert (code, document["overlaps"], document["duplicates"], document["left_out"]) == (0, [], 0, 0)


def test_what_was_not_looked_for_is_told_with_its_reason(folder, monkeypatch):
    monkeypatch.setattr("fairtune.data.leak_matches._SOUGHT_IN", 100)
    monkeypatch.setenv("FAIRTUNE_CACHE", str(folder / "cache"))
    result = inside("data", "check", "clean.yaml", cwd=folder)
    assert "train and test, near: not counted, since near rows are looked for" in result.stdout
    assert "As far as was looked, no test item" in result.stdout
