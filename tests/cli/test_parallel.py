"""Runs of several processes through the real command line."""

import json
import os
import signal
import time

import psutil
import pytest

from tests.cli.command import inside, records, study
from tests.cli.test_run import start, wait_for_training

LONG = {"epochs": 4000, "batch_size": 4, "learning_rate": 1e-5}


@pytest.mark.parametrize("strategy", ["ddp", pytest.param("fsdp", marks=pytest.mark.slow)])
def test_a_run_of_two_processes_leaves_what_a_run_of_one_leaves(tmp_path, llama, strategy):
    parallel = {"strategy": strategy, "processes": 2}
    study(tmp_path, llama, methods=["base", {"full": {"learning_rate": 1e-3}}], parallel=parallel)
    result = inside("run", "study.yaml", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    done = records(tmp_path)
    record, untouched = done["full 0"], done["base 0"]
    assert record["status"] == "ok"
    assert (record["provenance"]["processes"], record["provenance"]["strategy"]) == (2, strategy)
    assert (untouched["provenance"]["processes"], untouched["provenance"]["strategy"]) == (1, None)
    assert record["throughput"]["train_tokens_per_second"] > 0
    assert set(record["phases"]) == {"load", "train", "evaluate", "generate"}
    folder = tmp_path / "runs" / "small" / record["run_id"]
    names = {item.name for item in folder.iterdir()}
    files = {"spec.json", "plan.json", "record.json", "examples", "log.txt", "model", "curve.jsonl", "tensorboard"}
    assert names == files | {"ranks"}
    assert {item.name for item in (folder / "ranks" / "1").iterdir()} == {"log.txt"}
    curve = [json.loads(line) for line in (folder / "curve.jsonl").read_text().splitlines()]
    assert [line["step"] for line in curve] == list(range(1, len(curve) + 1))
    assert sum(line["tokens"] for line in curve[-1:]) == record["tokens"]["train"]

    study(tmp_path, llama, methods=[{"full": {"learning_rate": 1e-3}}])
    again = inside("run", "study.yaml", cwd=tmp_path)
    assert "1 done before" in again.stderr  # it is the same run
    assert inside("run", "study.yaml", "--runs", "alone", cwd=tmp_path).returncode == 0
    (alone,) = [json.loads(path.read_text()) for path in (tmp_path / "alone" / "small").glob("*/record.json")]
    for metric, score in alone["metrics"].items():
        assert record["metrics"][metric]["value"] == pytest.approx(score["value"], rel=1e-5), metric


def test_a_run_that_diverges_in_two_processes_is_a_diverged_run(tmp_path, llama):
    study(tmp_path, llama, methods=[{"full": {"learning_rate": 1e30, "epochs": 3}}], parallel={"processes": 2})
    assert inside("run", "study.yaml", cwd=tmp_path).returncode == 1
    record = records(tmp_path)["full 0"]
    assert record["status"] == "diverged"
    assert record["error"]["message"].startswith("update ")
    assert record["parameters"]["trainable"] > 0


def alive(pids):
    return [pid for pid in pids if psutil.pid_exists(pid)]


@pytest.mark.slow
@pytest.mark.parametrize("killed", ["rank", "launcher", "command"])
def test_whoever_is_killed_takes_the_others_along_and_the_record_names_it(tmp_path, llama, killed):
    study(tmp_path, llama, methods=[{"full": LONG}], parallel={"processes": 2})
    command = start(tmp_path)
    first, folder = wait_for_training(tmp_path, "full")
    second = json.loads((folder / "ranks" / "1" / "progress.json").read_text())["pid"]
    launcher = psutil.Process(second).ppid()
    victim = {"rank": second, "launcher": launcher, "command": command.pid}[killed]
    os.kill(victim, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and (
        alive([first["pid"], second, launcher]) or (killed != "command" and not (folder / "record.json").exists())
    ):
        time.sleep(0.05)
    assert not alive([first["pid"], second, launcher])
    command.communicate(timeout=60)
    if killed == "command":
        return
    record = records(tmp_path)["full 0"]
    assert (record["status"], record["error"]["kind"], record["error"]["phase"]) == ("failed", "SIGKILL", "train")
    if killed == "rank":
        assert record["error"]["message"] == f"rank 1 (process {second}) was ended by signal 9 (SIGKILL)"
