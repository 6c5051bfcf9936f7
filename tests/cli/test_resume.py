"""A run that was killed goes on with the next `fairtune run`, and ends where it would have ended."""

import contextlib
import json
import os
import signal
import threading
import time

from tests.cli.command import inside, records, study

LONG = {"full": {"learning_rate": 1e-2, "epochs": 12, "batch_size": 4}}


def kill_at(update, folder, killed):
    """Ends the process of a run with -9 once its curve has so many lines."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for curve in folder.glob("runs/*/*/curve.jsonl"):
            if curve.read_text().count("\n") >= update:
                with contextlib.suppress(FileNotFoundError):
                    killed.append(json.loads((curve.parent / "progress.json").read_text())["pid"])
                    os.kill(killed[-1], signal.SIGKILL)
                    return
        time.sleep(0.01)


def curve_of(run):
    lines = [json.loads(line) for line in (run / "curve.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines], lines


def test_a_killed_run_goes_on_and_ends_in_the_same_bits_though_its_last_checkpoint_is_damaged(tmp_path, llama):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for folder in (whole, broken):
        folder.mkdir()
        study(folder, llama, methods=[LONG], evaluate=["perplexity"], checkpoint={"updates": 4})
    assert inside("run", "study.yaml", cwd=whole).returncode == 0

    killed = []
    killer = threading.Thread(target=kill_at, args=(10, broken, killed))
    killer.start()
    assert inside("run", "study.yaml", cwd=broken).returncode == 1
    killer.join()
    assert killed
    (run,) = (broken / "runs" / "small").glob("*/")
    newest, before = sorted((int(path.name) for path in (run / "checkpoints").glob("[0-9]*")), reverse=True)
    reached = len(curve_of(run)[0])
    (told,) = json.loads(inside("status", "study.yaml", "--json", cwd=broken).stdout)
    assert f"interrupted at update {reached} of 48; goes on from update {newest}" in told["detail"]

    tensors = run / "checkpoints" / str(newest) / "rank-0.safetensors"
    content = bytearray(tensors.read_bytes())
    content[-1] ^= 1
    tensors.write_bytes(content)
    again = inside("run", "study.yaml", cwd=broken)
    assert again.returncode == 0, again.stderr
    remark = f"the checkpoint at update {newest} is not used: rank-0.safetensors is damaged"
    assert remark in again.stderr
    assert remark in (run / "log.txt").read_text()

    one, two = records(whole)["full 0"], records(broken)["full 0"]
    (resumed,) = two["resumed"]
    assert resumed["update"] == before
    assert resumed["remarks"][0].startswith(remark)
    assert one["resumed"] == []
    for key in ("metrics", "selection", "tokens"):
        assert one[key] == two[key]
    other = whole / "runs" / "small" / run.name
    assert (run / "model" / "model.safetensors").read_bytes() == (other / "model" / "model.safetensors").read_bytes()
    assert curve_of(run)[0] == curve_of(other)[0]
    assert [item.name for item in run.iterdir() if item.name == "checkpoints"] == []
    # The earlier attempt is as it was left; its time up to the checkpoint counts, once.
    old, new = curve_of(run / "attempts" / "1")[1], curve_of(run)[1]
    assert len(old) == reached
    assert new[:before] == old[:before]
    assert new[before]["seconds"] > old[before - 1]["seconds"]
    assert two["throughput"]["train_tokens_per_second"] == new[-1]["tokens"] / new[-1]["seconds"]
    assert two["phases"]["train"]["seconds"] > new[-1]["seconds"]
    assert json.loads((run / "attempts" / "1" / "record.json").read_text())["error"]["kind"] == "SIGKILL"
