"""A judge through the real command line: judged once, told everywhere; and one that fails."""

import csv
import io
import json
import os
import signal

import pytest

import fairtune.execute.judge as judging
from tests import tiny
from tests.cli.command import inside, study

METHODS = ["base", {"full": {"learning_rate": 1e-2}}]


@pytest.fixture(scope="module")
def judged(tmp_path_factory, llama):
    folder = tmp_path_factory.mktemp("judged")
    judge = {"model": str(tiny.save_model(folder / "judge", context=1024, seed=3)), "limit": 4}
    path = study(folder, llama, methods=METHODS, judge=judge)
    return folder, path, inside("run", path, cwd=folder)


def files(folder):
    kept = (folder / "runs" / "small" / "judgements").rglob("*")
    return {path: path.stat().st_mtime_ns for path in kept if path.is_file()}


def test_a_study_ends_with_what_its_judge_found(judged):
    folder, path, result = judged
    assert result.returncode == 0, result.stderr
    for words in ("Judged by judge", "win rate ↑", "order flips", "Judge: win rate ="):
        assert words in result.stdout
    assert "judge judge: comparisons: 1" in result.stderr
    assert "## Judged by judge" in (folder / "runs" / "small" / "report.md").read_text(encoding="utf-8")
    (found,) = json.loads(inside("report", path, "--format", "json", cwd=folder).stdout)["judgements"]
    counts = found["verdicts"]
    assert counts["items"] == 4 == counts["wins"] + counts["ties"] + counts["losses"]
    assert found["win_rate"]["value"] == (counts["wins"] + counts["ties"] / 2) / 4
    rows = list(csv.DictReader(io.StringIO(inside("report", path, "--format", "csv", cwd=folder).stdout)))
    (row,) = [row for row in rows if row["metric"].startswith("win rate against base")]
    assert (row["run_id"], float(row["value"]), row["n"]) == (found["run"], found["win_rate"]["value"], "4")


def test_it_is_judged_once(judged):
    folder, path, _ = judged
    before = files(folder)
    assert {path.suffix for path in before} == {".json", ".jsonl", ".txt"}
    again = inside("run", path, cwd=folder)
    assert again.returncode == 0
    assert "comparisons" not in again.stderr
    assert files(folder) == before


def test_a_judge_that_fails_is_a_row_with_its_reason_and_no_zero(judged, llama):
    folder, _, _ = judged
    broken = tiny.save_model(folder / "broken", seed=4)
    for file in broken.glob("tokenizer*"):
        file.unlink()
    path = study(folder, llama, methods=METHODS, judge={"model": str(broken)})
    result = inside("run", path, cwd=folder)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr + result.stdout
    (line,) = [line for line in result.stdout.split("\n") if "failed:" in line]
    assert "0.000" not in line
    assert "judged by broken: failed:" in result.stderr
    (found,) = json.loads(inside("report", path, "--format", "json", cwd=folder).stdout)["judgements"]
    assert (found["status"], found["win_rate"], found["verdict"]) == ("failed", None, None)
    told = json.loads(inside("status", path, "--json", cwd=folder).stdout)[-1]
    assert told["status"] == "failed"
    assert told["detail"] == found["error"]["message"]


def test_a_judge_out_of_time_leaves_a_record_and_is_tried_again(judged, llama):
    """The budget is no part of a run: the runs are there already, and the prompt is new to the judge."""
    folder, _, _ = judged
    judge = {"model": str(folder / "judge"), "prompt": "{question} A: {answer_a} B: {answer_b} Which?"}
    path = study(folder, llama, methods=METHODS, judge=judge, budget={"device": "cpu", "time": 0.01})
    result = inside("run", path, cwd=folder)
    assert result.returncode == 1
    assert "timeout: stopped after" in result.stdout
    path = study(folder, llama, methods=METHODS, judge=judge)
    again = inside("run", path, cwd=folder)
    assert again.returncode == 0, again.stdout
    assert list((folder / "runs" / "small" / "judgements" / "attempts").glob("*.1.json"))


def die(_folder, _command):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_judge_that_is_killed_and_a_record_that_is_damaged_are_told_and_repeated(judged, llama, monkeypatch):
    folder, _, _ = judged
    judge = {"model": str(folder / "judge"), "prompt": "{question} 1: {answer_a} 2: {answer_b}"}
    path = study(folder, llama, methods=METHODS, judge=judge)
    with monkeypatch.context() as patch:
        patch.setattr(judging, "begin_judge", die)
        result = inside("run", path, cwd=folder)
    assert result.returncode == 1
    assert "(SIGKILL)" in result.stdout
    assert inside("run", path, cwd=folder).returncode == 0
    (found,) = json.loads(inside("report", path, "--format", "json", cwd=folder).stdout)["judgements"]
    record = folder / "runs" / "small" / "judgements" / f"{found['id']}.json"
    record.write_text(record.read_text()[:50], encoding="utf-8")
    assert "unreadable" in inside("status", path, cwd=folder).stdout
    assert inside("run", path, cwd=folder).returncode == 0
    assert json.loads(record.read_text())["win_rate"] == found["win_rate"]
