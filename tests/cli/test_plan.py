"""Planning through the real command line, in its own process; what it would find is given, not simulated."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fairtune.records import Plan, PlannedPhase
from tests.cli.command import fairtune, inside, records, study

GIB = 2**30
NEEDS = {"base": 1, "full": 30, "lora": 10}
METHODS = ["base", {"full": {"learning_rate": 1e-3}}, {"lora": {"rank": 2}}]


def planned(specs, device, budget_bytes, thorough=False, done=lambda count: None):
    """Stands for the simulation: a method needs what the table says, a third of it in passes of 64 tokens."""
    with (Path(specs[0].task.root) / "planned.txt").open("a") as file:
        file.write("".join(f"{spec.method.name} {spec.budget.device} {thorough}\n" for spec in specs))
    found = {}
    for count, spec in enumerate(specs, start=1):
        peak = NEEDS[spec.method.name] * GIB // (3 if spec.budget.batch_tokens == 64 else 1)
        fits = budget_bytes is None or peak <= budget_bytes
        found[spec.run_id] = Plan(
            peak_bytes=peak,
            seconds=60.0,
            reason=None,
            device=device.name,
            budget_bytes=budget_bytes,
            verdict="fits" if fits else "does_not_fit",
            binding="weights",
            phases={
                "load": PlannedPhase(peak_bytes=peak // 2, seconds=10.0),
                "train": PlannedPhase(peak_bytes=peak, seconds=50.0, terms={"weights": peak}),
            },
            advice=None if fits or not thorough else "budget: {batch_tokens: 64}",
            batch_tokens=64 if thorough else None,
        )
        done(count)
    return found


def begin_given(folder, command):
    import fairtune.execute.plan_worker as worker

    worker.plan_runs = planned
    worker.work(folder, command)


def begin_failing(folder, command):
    import fairtune.execute.plan_worker as worker

    def broken(*_):
        raise KeyError("of somebody's model")

    worker.plan_runs = broken
    worker.work(folder, command)


def begin_killed(_folder, _command):
    os.kill(os.getpid(), signal.SIGKILL)


def begin_endless(_folder, _command):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    time.sleep(600)


@pytest.fixture
def given(monkeypatch):
    monkeypatch.setattr("fairtune.execute.plans.begin_plan", begin_given)
    return monkeypatch


def small(folder, llama, memory="20GiB", **budget):
    given = {"memory": memory, "device": "cpu", **budget}
    return study(folder, llama, methods=METHODS, budget={key: value for key, value in given.items() if value})


def simulated(folder):
    """Methods whose runs were simulated since last asked."""
    file = folder / "planned.txt"
    found = [line.split()[0] for line in file.read_text().splitlines()] if file.exists() else []
    file.unlink(missing_ok=True)
    return found


# --- fairtune plan -------------------------------------------------------------------------------------------------


def test_the_document_has_the_shape_of_the_contract_and_progress_stays_out_of_it(given, tmp_path, llama):
    result = inside("plan", small(tmp_path, llama), "--json", cwd=tmp_path)
    assert result.returncode == 1
    found = json.loads(result.stdout)
    assert (found["device"], found["budget_bytes"]) == ("cpu", 20 * GIB)
    assert [(run["method"], run["verdict"]) for run in found["runs"]] == [
        ("base", "fits"),
        ("full", "does_not_fit"),
        ("lora", "fits"),
    ]
    (full,) = [run for run in found["runs"] if run["method"] == "full"]
    train = {"peak_bytes": 30 * GIB, "seconds": 50.0, "terms": {"weights": 30 * GIB}, "factor": 1.0, "reason": None}
    assert full["phases"]["train"] == train
    assert full["advice"] == "budget: {batch_tokens: 64}"
    assert not (tmp_path / "runs").exists()


def test_the_table_says_what_does_not_fit_and_what_would_make_it(given, tmp_path, llama):
    result = inside("plan", small(tmp_path, llama), cwd=tmp_path)
    assert result.returncode == 1
    for words in (
        "· full · fp32 · seed 0: does not fit; budget: {batch_tokens: 64}",
        "20.00 GiB for each process, by the study (budget.memory)",
        "by the study (budget.device: cpu)",
    ):
        assert words in result.stdout
    assert "Traceback" not in result.stderr


def test_memory_and_device_of_the_command_come_before_the_study_s_and_that_before_the_device_s(given, tmp_path, llama):
    path = small(tmp_path, llama)
    found = inside("plan", path, "--memory", "40GiB", cwd=tmp_path)
    assert found.returncode == 0
    assert "40.00 GiB for each process, by --memory" in found.stdout
    found = inside("plan", path, "--device", "h100-mig-10gb", "--quick", cwd=tmp_path)
    assert (found.returncode, "20.00 GiB for each process" in found.stdout) == (1, True)
    assert "(h100-mig-10gb), by --device" in found.stdout
    assert (tmp_path / "planned.txt").read_text().splitlines()[-1] == "lora cuda False"
    found = inside("plan", small(tmp_path, llama, memory=None), "--device", "h100-mig-20gb", "--json", cwd=tmp_path)
    document = json.loads(found.stdout)
    assert 18 * GIB < document["budget_bytes"] < 20 * GIB
    assert document["budget_from"].startswith("the device's own (")


def test_a_run_that_cannot_be_on_the_device_is_unknown_with_the_reason(given, tmp_path, llama):
    training = {"epochs": 1, "batch_size": 4, "optimizer": "adamw_8bit"}
    path = study(tmp_path, llama, methods=METHODS, training=training)
    found = json.loads(inside("plan", path, "--device", "m2", "--json", cwd=tmp_path).stdout)
    verdicts = {run["method"]: (run["verdict"], run["reason"]) for run in found["runs"]}
    assert verdicts["base"] == ("fits", None)
    verdict, reason = verdicts["full"]
    assert verdict == "unknown"
    assert "adamw_8bit is not there on mps" in reason


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--device", "rtx4090"], "did you mean 'rtx-4090'?"),
        (["--device", "cuda:7"], "device 'cuda:7' is not there"),
        (["--memory", "much"], "--memory much: 'much' is not an amount"),
        (["--memory", "-3GiB"], "--memory -3GiB"),
    ],
)
def test_wrong_requests_are_told_without_a_traceback(given, tmp_path, llama, arguments, words):
    result = inside("plan", small(tmp_path, llama), *arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert not result.stdout


@pytest.mark.parametrize(
    ("begin", "words"), [(begin_failing, 'KeyError: "of somebody\'s model"'), (begin_killed, "(SIGKILL)")]
)
def test_a_crash_of_a_model_s_code_is_told(monkeypatch, tmp_path, llama, begin, words):
    monkeypatch.setattr("fairtune.execute.plans.begin_plan", begin)
    result = inside("plan", small(tmp_path, llama), cwd=tmp_path)
    assert result.returncode == 1
    assert "planning failed: " in result.stdout
    assert words in result.stdout
    assert "Traceback" not in result.stdout + result.stderr
    document = json.loads(inside("plan", tmp_path / "study.yaml", "--json", cwd=tmp_path).stdout)
    assert {run["verdict"] for run in document["runs"]} == {"unknown"}
    assert all(words in run["reason"] for run in document["runs"])


def test_what_a_crash_printed_is_kept(monkeypatch, tmp_path, llama):
    monkeypatch.setattr("fairtune.execute.plans.begin_plan", begin_failing)
    result = inside("plan", small(tmp_path, llama), cwd=tmp_path, FAIRTUNE_CACHE=tmp_path / "cache")
    assert f"(log: {tmp_path / 'cache' / 'planning.log'})" in result.stdout
    assert "Traceback" in (tmp_path / "cache" / "planning.log").read_text()


def test_the_command_line_itself_never_imports_torch(tmp_path):
    (tmp_path / "study.yaml").write_text("name: x\n")
    code = (
        "import sys\nfrom fairtune.cli import main\n"
        "try:\n main(['plan', '--help'])\nexcept SystemExit: pass\n"
        "import fairtune.execute.plans, fairtune.execute.engine, fairtune.report.plan_table\n"
        "assert not {'torch', 'transformers', 'peft'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


# --- fairtune run --------------------------------------------------------------------------------------------------


def test_what_does_not_fit_is_a_record_with_the_numbers_and_was_not_started(given, tmp_path, llama):
    result = inside("run", small(tmp_path, llama), cwd=tmp_path)
    assert result.returncode == 1
    assert "planned 3 runs in " in result.stderr
    assert "s: 2 fit, 1 does not" in result.stderr
    done = records(tmp_path)
    assert {name: record["status"] for name, record in done.items()} == {
        "base 0": "ok",
        "full 0": "does_not_fit",
        "lora 0": "ok",
    }
    refused = done["full 0"]
    message = refused["error"]["message"]
    for words in ("30.00 GiB to train", "load 15.00 GiB", "may take 20.00 GiB of cpu", "mostly weights", "run --force"):
        assert words in message
    folder = tmp_path / "runs" / "small" / refused["run_id"]
    assert {item.name for item in folder.iterdir()} == {"spec.json", "plan.json", "record.json"}
    assert simulated(tmp_path) == ["base", "full", "lora"]
    for record in done.values():
        assert record["plan"]["device"] == "cpu"
        assert record["plan"]["phases"]["train"]["peak_bytes"] == record["plan"]["peak_bytes"]
        kept = json.loads((tmp_path / "runs" / "small" / record["run_id"] / "plan.json").read_text())
        assert kept == record["plan"]


def test_a_refusal_stands_until_the_study_asks_for_something_else(given, tmp_path, llama):
    """What fits then runs, and the refusal is kept among the attempts."""
    inside("run", small(tmp_path, llama), cwd=tmp_path)
    simulated(tmp_path)
    before = records(tmp_path)
    again = inside("run", tmp_path / "study.yaml", cwd=tmp_path)
    assert again.returncode == 1
    assert "3 runs, 2 done before" in again.stderr
    assert "planned 1 run in " in again.stderr
    assert (simulated(tmp_path), records(tmp_path)) == ([], before)

    small(tmp_path, llama, memory="25GiB")
    inside("run", "study.yaml", cwd=tmp_path)
    assert simulated(tmp_path) == ["full"]
    folder = tmp_path / "runs" / "small" / before["full 0"]["run_id"]
    assert "may take 25.00 GiB" in records(tmp_path)["full 0"]["error"]["message"]
    assert {item.name for item in (folder / "attempts" / "1").iterdir()} == {"plan.json", "record.json"}

    small(tmp_path, llama, memory="25GiB", batch_tokens=64)
    assert inside("run", "study.yaml", cwd=tmp_path).returncode == 0
    assert simulated(tmp_path) == ["full"]
    record = records(tmp_path)["full 0"]
    assert (record["status"], record["plan"]["verdict"], record["run_id"]) == ("ok", "fits", folder.name)
    again = inside("run", "study.yaml", cwd=tmp_path)
    assert again.returncode == 0
    assert "planned" not in again.stderr  # nothing is missing, so nothing is planned
    assert simulated(tmp_path) == []


def test_a_refusal_is_looked_at_again_on_another_machine(given, tmp_path, llama):
    """The study says nothing of memory, so the device decides; and it was a smaller one."""
    path = small(tmp_path, llama)
    inside("run", path, cwd=tmp_path)
    record = tmp_path / "runs" / "small" / records(tmp_path)["full 0"]["run_id"] / "record.json"
    small(tmp_path, llama, memory=None)
    content = json.loads(record.read_text())
    content["spec"]["budget"]["memory"] = None
    content["plan"] |= {"budget_bytes": GIB}
    record.write_text(json.dumps(content))
    simulated(tmp_path)
    inside("run", path, cwd=tmp_path)
    assert simulated(tmp_path) == ["full"]


def test_force_starts_what_does_not_fit(given, tmp_path, llama):
    path = small(tmp_path, llama, memory="12GiB")
    assert inside("run", path, "--force", cwd=tmp_path).returncode == 0
    record = records(tmp_path)["full 0"]
    assert (record["status"], record["plan"]["verdict"]) == ("ok", "does_not_fit")


def test_force_starts_what_was_refused_before(given, tmp_path, llama):
    path = small(tmp_path, llama, memory="12GiB")
    assert inside("run", path, cwd=tmp_path).returncode == 1
    assert inside("run", path, "--force", cwd=tmp_path).returncode == 0
    assert records(tmp_path)["full 0"]["status"] == "ok"


@pytest.mark.parametrize("begin", [begin_failing, begin_killed])
def test_planning_that_fails_stops_no_run(monkeypatch, tmp_path, llama, begin):
    monkeypatch.setattr("fairtune.execute.plans.begin_plan", begin)
    result = inside("run", small(tmp_path, llama), cwd=tmp_path)
    assert result.returncode == 0
    assert "not planned, so runs start unseen: " in result.stderr
    for record in records(tmp_path).values():
        assert record["status"] == "ok"
        assert record["plan"]["peak_bytes"] is None
        assert record["plan"]["reason"].startswith("planning failed: ")


def test_ctrl_c_while_it_plans_loses_nothing(monkeypatch, tmp_path, llama):
    path = small(tmp_path, llama)
    monkeypatch.setattr("fairtune.execute.plans.begin_plan", begin_given)
    inside("run", path, cwd=tmp_path)
    before = records(tmp_path)
    small(tmp_path, llama, memory="1GiB")
    monkeypatch.setattr("fairtune.execute.plans.begin_plan", begin_endless)

    def interrupted(process, *_):
        assert process.is_alive()
        raise KeyboardInterrupt

    monkeypatch.setattr("fairtune.execute.plans.watch_until_end", interrupted)
    result = inside("run", path, cwd=tmp_path)
    assert result.returncode == 1
    assert "stopped; what is finished is kept" in result.stderr
    assert records(tmp_path) == before
    assert not list((tmp_path / "runs").rglob("attempts"))
    result = inside("plan", path, cwd=tmp_path)
    assert (result.returncode, "stopped; nothing was planned" in result.stderr) == (1, True)


def test_a_report_has_the_prediction_beside_what_was_measured(given, tmp_path, llama):
    path = small(tmp_path, llama)
    table = inside("run", path, cwd=tmp_path).stdout
    assert "Peaks and time, predicted → measured" in table
    assert "does_not_fit: predicted: needs 30.00 GiB to train" in table
    done = records(tmp_path)
    trained = done["lora 0"]
    error = 10 * GIB / trained["phases"]["train"]["peak_bytes"] - 1
    assert (
        f"10.00 GiB → {trained['phases']['train']['peak_bytes'] / 2**20:.0f} MiB +{error:.0%}".replace("%", " %")
        in table
    )

    text = inside("report", path, "--format", "md", cwd=tmp_path).stdout
    assert "| full | 0 | does not fit | 15.00 GiB → – | 30.00 GiB → – |" in text
    assert "seed 0: does_not_fit: predicted: needs 30.00 GiB" in text

    document = json.loads(inside("report", path, "--format", "json", cwd=tmp_path).stdout)
    (found,) = [each for each in document["predictions"] if each["run_id"] == trained["run_id"]]
    assert found["verdict"] == "fits"
    assert found["phases"]["train"]["peak_bytes"] == {
        "predicted": 10 * GIB,
        "measured": trained["phases"]["train"]["peak_bytes"],
        "error": pytest.approx(error),
    }
    assert found["phases"]["train"]["seconds"]["predicted"] == 50
    assert found["phases"]["evaluate"]["seconds"]["predicted"] is None
    refused = [each for each in document["predictions"] if each["verdict"] == "does_not_fit"]
    assert [each["peak_bytes"] for each in refused] == [{"predicted": 30 * GIB, "measured": None, "error": None}]

    rows = csv.DictReader(io.StringIO(inside("report", path, "--format", "csv", cwd=tmp_path).stdout))
    rows = {row["method"]: row for row in rows if row["metric"] == "perplexity"}
    assert rows["lora"]["predicted_train_peak_bytes"] == str(float(10 * GIB))
    assert float(rows["lora"]["predicted_load_seconds"]) == 10
    assert float(rows["lora"]["generate_seconds"]) > 0
    assert (rows["full"]["status"], rows["full"]["plan"]) == ("does_not_fit", "does_not_fit")
    assert rows["full"]["reason"].startswith("predicted: needs 30.00 GiB")
    assert rows["base"]["reason"] == ""


def test_a_report_of_runs_without_plans_has_no_table_of_them(monkeypatch, tmp_path, llama):
    monkeypatch.setattr("fairtune.execute.plans.begin_plan", begin_failing)
    table = inside("run", small(tmp_path, llama), cwd=tmp_path).stdout
    assert "predicted →" not in table
    assert "predicted" in table


def test_help_names_what_it_takes(tmp_path):
    result = fairtune("plan", "--help", cwd=tmp_path)
    for option in ("--device", "--memory", "--quick", "--json"):
        assert option in result.stdout
