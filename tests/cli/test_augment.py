"""Augmentation as an axis, through the real command line."""

import csv
import io
import json
import sys

import pytest

from tests import tiny
from tests.cli.command import inside, study
from tests.unit.test_translation import REVERSE

TURNED = [sys.executable, "-c", "import sys; print(sys.stdin.read().replace('s', 'z'), end='')"]


def augmented(folder, model, axis, methods):
    (folder / "reverse.py").write_text(REVERSE, encoding="utf-8")
    (folder / "mine.tsv").write_text("uno\teins\ndos\tzwei\ntres\tdrei\n", encoding="utf-8")
    task = {"name": "rows", "train": "rows.jsonl", "validation": 3, "test": 5, "metrics": ["perplexity"]}
    return study(folder, model, augment=axis, methods=methods, task=task, training={"epochs": 2, "batch_size": 4})


@pytest.fixture(scope="module")
def finished(tmp_path_factory, llama):
    folder = tmp_path_factory.mktemp("augmented")
    axis = ["none", {"eda": {"ratio": 2, "synonyms": "./mine.tsv"}}, {"token_dropout": {"rate": 0.3}}]
    methods = ["base", {"full": {"learning_rate": 1e-3}}, {"lora": {"rank": 2}}]
    result = inside("run", augmented(folder, llama, axis, methods), cwd=folder)
    assert result.returncode == 0, result.stderr
    return folder, result


def found(folder):
    paths = (folder / "runs" / "small").glob("*/record.json")
    records = [json.loads(path.read_text()) for path in paths]
    return {(r["spec"]["method"]["name"], (r["spec"]["augment"] or {}).get("label")): r for r in records}


def test_originals_and_copies_are_counted_apart_and_both_are_trained_on(finished):
    records = found(finished[0])
    assert len(records) == 1 + 2 * 3
    assert records["base", None]["augmentation"] is None
    expected = {"eda": 32, "token_dropout": 16}
    for (method, label), record in records.items():
        if label is None:
            continue
        account = record["augmentation"]
        assert (account["originals"], account["asked"]) == (16, expected[label])
        assert account["added"] + account["not_made"] + account["no_room"] == account["asked"]
        assert account["added"] >= account["asked"] - 3
        assert 0 < account["seconds"] <= record["phases"]["load"]["seconds"]
        curve = finished[0] / "runs" / "small" / record["run_id"] / "curve.jsonl"
        assert len(curve.read_text().splitlines()) == 2 * -(-(16 + account["added"]) // 4), (method, label)
    assert records["full", "eda"]["tokens"]["train"] > 2 * records["full", None]["tokens"]["train"]


def test_methods_are_trained_on_the_same_copies(finished):
    records = found(finished[0])
    for label in {label for _, label in records} - {None}:
        full, lora = records["full", label], records["lora", label]
        assert full["tokens"] == lora["tokens"]
        counts = [{k: v for k, v in run["augmentation"].items() if k != "seconds"} for run in (full, lora)]
        assert counts[0] == counts[1]


def test_the_report_tells_augmentations_apart_and_compares_each_with_the_base(finished):
    folder, result = finished
    assert "token_dropout" in result.stdout
    text = (folder / "runs" / "small" / "report.md").read_text()
    assert "Augmentation eda: " in text
    document = json.loads(inside("report", "study.yaml", "--format", "json", cwd=folder).stdout)
    against = [c for c in document["comparisons"] if c["b"].endswith("base · fp32")]
    assert len(against) == 2 * 3
    assert len({c["a"] for c in against}) == 6
    table = inside("report", "study.yaml", "--format", "csv", cwd=folder).stdout
    assert sum(row["augmentation"] == "token_dropout" for row in csv.DictReader(io.StringIO(table))) == 2


def test_nothing_runs_twice_and_an_export_scores_the_same_items(finished):
    folder, _ = finished
    again = inside("status", "study.yaml", "--json", cwd=folder)
    assert {row["status"] for row in json.loads(again.stdout)} == {"ok"}
    record = found(folder)["lora", "eda"]
    exported = inside("export", folder / "runs" / "small" / record["run_id"], "--to", "merged", "--json", cwd=folder)
    assert exported.returncode == 0, exported.stderr
    assert json.loads(exported.stdout)["loss"]["run"] > 0


def test_missing_synonyms_are_told_before_anything_runs(tmp_path, llama):
    path = augmented(tmp_path, llama, {"eda": {"synonyms": "./none.tsv"}}, ["base", "full"])
    result = inside("run", path, cwd=tmp_path)
    assert result.returncode == 2
    assert "augment.eda.synonyms: './none.tsv': no such file" in result.stderr
    assert "wordnet-base" in result.stderr
    assert not (tmp_path / "runs").exists()


def test_commands_translate_and_one_that_fails_fails_its_runs_alone(tmp_path, llama):
    good = {"there": {"command": [sys.executable, "reverse.py"]}, "back": {"command": TURNED}}
    bad = {"command": [sys.executable, "-c", "import sys; sys.exit('no such language')"]}
    axis = [{"back_translation": good}, {"back_translation": {"there": bad, "back": bad}}]
    result = inside("run", augmented(tmp_path, llama, axis, [{"lora": {"rank": 2}}]), cwd=tmp_path)
    assert result.returncode == 1
    done, failed = sorted(found(tmp_path).values(), key=lambda record: record["status"] != "ok")
    assert done["augmentation"]["added"] == 16
    assert failed["status"] == "failed"
    assert "no such language" in failed["error"]["message"]


def test_rows_are_as_many_as_these_tests_take_them_for():
    assert len(tiny.rows(24)) - 3 - 5 == 16
