import json
import multiprocessing
import os
import signal
import time

import pytest

from fairtune.errors import BudgetError, RecordError
from fairtune.records import RunFolder, RunRecord, read_record, study_lock, write_atomically, write_lines, write_record
from fairtune.records.store import read_lines
from tests.unit.test_study import GOOD, runs_of


@pytest.fixture
def record(tmp_path) -> RunRecord:
    spec = runs_of(tmp_path, GOOD)[1]
    return RunRecord(run_id=spec.run_id, study=spec.study, status="ok", spec=spec)


def test_a_record_is_read_as_it_was_written(tmp_path, record):
    folder = RunFolder.of(tmp_path, record.spec)
    write_record(folder, record)
    assert folder.read() == record
    assert [item.name for item in folder.path.iterdir()] == ["record.json"]


def test_the_fields_of_a_record_are_a_contract(record):
    assert list(json.loads(record.model_dump_json())) == [
        *("version", "run_id", "study", "status", "error", "spec", "metrics", "phases", "throughput", "tokens"),
        *("parameters", "plan", "leakage", "augmentation", "bad_rows", "data_findings", "benchmarks"),
        *("selection", "loss_scaling", "resumed", "provenance"),
    ]


def test_a_record_from_before_data_were_examined_is_read(tmp_path, record):
    fields = json.loads(record.model_dump_json())
    del fields["data_findings"], fields["bad_rows"]
    (tmp_path / "record.json").write_text(json.dumps(fields))
    assert read_record(tmp_path / "record.json").data_findings == ()


def test_a_record_is_never_overwritten(tmp_path, record):
    folder = RunFolder.of(tmp_path, record.spec)
    write_record(folder, record)
    with pytest.raises(RecordError, match="never overwritten"):
        write_record(folder, record)


@pytest.mark.parametrize("text", ["", "{", '{"version": 1}', "[]", '{"version": 1, "run_id": "a"', "\x00\x01"])
def test_a_torn_record_is_told_by_name(tmp_path, text):
    file = tmp_path / "record.json"
    file.write_text(text)
    with pytest.raises(RecordError, match=r"record\.json: damaged"):
        read_record(file)


def test_a_record_of_another_version_says_which(tmp_path, record):
    file = tmp_path / "record.json"
    file.write_text(record.model_dump_json().replace('"version":1', '"version":7', 1))
    with pytest.raises(RecordError, match="record version 7; this fairtune reads version 1"):
        read_record(file)


def test_a_record_from_before_kinds_of_leaks_says_what_it_does_not_know(tmp_path, record):
    old = json.loads(record.model_dump_json())
    old["leakage"] = {"test_in_train": 2, "test_in_validation": 0, "validation_in_train": 1, "ids": ["a", "b"]}
    file = tmp_path / "record.json"
    file.write_text(json.dumps(old))
    leakage = read_record(file).leakage
    assert (leakage.test_in_train, leakage.overlaps, leakage.duplicates, leakage.allowed) == (2, (), None, None)
    assert "before" in leakage.reason


def test_extra_keys_of_a_record_are_welcome(tmp_path, record):
    file = tmp_path / "record.json"
    file.write_text(record.model_dump_json().replace('"version":1', '"note":"mine","version":1', 1))
    assert read_record(file).run_id == record.run_id


def test_what_an_earlier_attempt_left_is_moved_aside(tmp_path, record):
    folder = RunFolder.of(tmp_path, record.spec)
    for attempt in ("first", "second"):
        write_atomically(folder.spec, "{}")
        write_atomically(folder.log, attempt)
        folder.archive()
    assert sorted(item.name for item in folder.path.iterdir()) == ["attempts", "spec.json"]
    assert [(folder.path / "attempts" / n / "log.txt").read_text() for n in "12"] == ["first", "second"]


def test_lines_survive_separators_inside_texts(tmp_path):
    rows = [{"output": "a\u2028b\x85c\x0bd\re"}, {"output": ""}]
    write_lines(tmp_path / "lines.jsonl", rows)
    assert read_lines(tmp_path / "lines.jsonl") == rows


def test_a_place_that_cannot_be_written_is_an_error_for_people(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BudgetError, match="cannot be written"):
        write_atomically(tmp_path / "file" / "record.json", "{}")


def _hold(folder, held, until_killed):
    with study_lock(folder):
        held.set()
        if until_killed:
            time.sleep(60)


def test_a_second_run_is_refused_with_the_pid_of_the_first_and_a_dead_one_holds_nothing(tmp_path):
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    holder = context.Process(target=_hold, args=(tmp_path, held, True))
    holder.start()
    assert held.wait(30)
    with pytest.raises(RecordError, match=f"is being run by process {holder.pid}"), study_lock(tmp_path):
        pass
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    with study_lock(tmp_path):
        pass
