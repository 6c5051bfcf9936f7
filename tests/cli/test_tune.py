"""A study that tunes, through the real command line: trials, what they choose, and what is left of them."""

import json
import re
import shutil

import pytest

import fairtune.execute.engine as engine
from fairtune.records import Plan
from tests.cli.command import inside, study

RATES = [1e-4, 1e-2, 1e-1]
TUNED = {
    "methods": ["base", "full", {"lora": {"rank": 2}}],
    "evaluate": ["perplexity"],
    "seeds": [0, 1],
    "training": {"epochs": 2, "batch_size": 4},
    "tune": {"learning_rate": RATES},
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory, llama):
    folder = tmp_path_factory.mktemp("tuned")
    result = inside("run", study(folder, llama, **TUNED), cwd=folder)
    assert result.returncode == 0, result.stderr
    return folder, result


@pytest.fixture
def unplanned(monkeypatch):
    """Nothing is planned: seconds that are another test's."""
    monkeypatch.setattr(engine, "plan_missing", lambda asked, *_: {spec.run_id: Plan() for spec, _ in asked})


def found(folder):
    """All records: of trials, and of the runs that count."""
    read = [json.loads(path.read_text()) for path in sorted((folder / "runs" / "small").glob("*/record.json"))]
    trials = [record for record in read if record["spec"]["trial"]]
    trials.sort(key=lambda record: (record["spec"]["method"]["name"], record["spec"]["trial"]["number"]))
    return trials, [record for record in read if not record["spec"]["trial"]]


def states(folder):
    return json.loads(inside("status", "study.yaml", "--json", cwd=folder).stdout)


def changed(folder, before):
    return {path for path in folder.glob("runs/small/*/record.json") if before.get(path) != path.stat().st_mtime_ns}


def times(folder):
    return {path: path.stat().st_mtime_ns for path in folder.glob("runs/small/*/record.json")}


def test_every_method_has_the_same_trials_and_then_all_seeds(finished):
    trials, runs = found(finished[0])
    assert [(one["spec"]["method"]["name"], one["spec"]["trial"]["number"]) for one in trials] == [
        *(("full", number) for number in (1, 2, 3)),
        *(("lora", number) for number in (1, 2, 3)),
    ]
    assert sorted((one["spec"]["method"]["name"], one["spec"]["seed"]) for one in runs) == [
        ("base", 0),
        *(("full", seed) for seed in (0, 1)),
        *(("lora", seed) for seed in (0, 1)),
    ]


def test_a_trial_has_seen_nothing_of_the_test_part_and_leaves_no_weights(finished):
    folder, _ = finished
    for trial in found(folder)[0]:
        assert trial["metrics"] == {}
        assert set(trial["phases"]) == {"load", "train"}
        assert set(trial["plan"]["phases"]) == {"load", "train"}
        assert trial["spec"]["seed"] == 0
        names = {item.name for item in (folder / "runs" / "small" / trial["run_id"]).iterdir()}
        assert names == {"spec.json", "plan.json", "record.json", "curve.jsonl", "tensorboard", "log.txt"}


def test_the_lowest_validation_loss_was_chosen_and_the_run_says_among_what(finished):
    trials, runs = found(finished[0])
    for method in ("full", "lora"):
        ours = [one for one in trials if one["spec"]["method"]["name"] == method]
        lowest = min(ours, key=lambda one: min(one["selection"]["validation_losses"]))
        for run in runs:
            if run["spec"]["method"]["name"] == method:
                chances = run["spec"]["tuned"]
                assert chances["chosen"] == lowest["spec"]["trial"]["values"]
                assert chances["chosen"]["learning_rate"] == run["spec"]["training"]["learning_rate"]
                assert chances["validation_loss"] == min(lowest["selection"]["validation_losses"])
                assert chances["runs"] == [one["run_id"] for one in ours]
                assert (chances["trials"], chances["asked"], chances["sampler"]) == (3, 3, "grid")
    # The first seed is trained as the trial was, so nothing but its scores is new.
    first = next(run for run in runs if run["spec"]["method"]["name"] == "full" and run["spec"]["seed"] == 0)
    assert first["selection"]["validation_losses"] in [one["selection"]["validation_losses"] for one in trials]


def test_progress_counts_trials_and_reports_tell_of_them_apart_from_scores(finished):
    folder, result = finished
    assert "11 runs, 0 done before\n6 of them trials" in result.stderr
    for words in (
        "[2/11] llama",
        "full · fp32 · trial 1 of 3: learning_rate=",
        "ok after",
        "validation loss",
        "[11/11]",
    ):
        assert words in result.stderr.replace("llama0", "llama")
    scores, _, rest = (folder / "runs" / "small" / "report.md").read_text().partition("## Cost")
    assert "trial" not in scores
    assert "| full | 2 of 3 | learning_rate=" in rest
    assert "options were chosen by validation loss alone" in rest
    document = json.loads(inside("report", "study.yaml", "--format", "json", cwd=folder).stdout)
    assert len(document["runs"]) == 5
    assert [trial["number"] for trial in document["trials"]] == [1, 2, 3] * 2
    assert all(trial["validation_loss"] > 0 for trial in document["trials"])
    assert not any(run["spec"]["trial"] for run in document["runs"])
    rows = states(folder)
    assert [row["status"] for row in rows] == ["ok"] * 11
    assert all(re.search(r"trial \d of 3: learning_rate=", row["run"]) for row in rows[:6])


def test_what_was_chosen_is_found_by_a_study_that_writes_it(finished, llama):
    folder, _ = finished
    rates = {run["spec"]["method"]["name"]: run["spec"]["training"] for run in found(folder)[1]}
    by_hand = [{"full": {"learning_rate": rates["full"]["learning_rate"]}}, "base"]
    before = times(folder)
    copy = folder / "by-hand.yaml"
    text = (folder / "study.yaml").read_text()
    study(folder, llama, **{**TUNED, "methods": by_hand, "tune": None}).rename(copy)
    (folder / "study.yaml").write_text(text)
    again = inside("run", "by-hand.yaml", cwd=folder)
    assert "3 runs, 3 done before" in again.stderr
    assert not changed(folder, before)


def test_a_finished_study_does_nothing_again_and_one_that_lost_a_trial_repeats_that_alone(finished, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(finished[0], folder)
    before = times(folder)
    again = inside("run", "study.yaml", cwd=folder)
    assert again.returncode == 0
    assert "11 runs, 11 done before" in again.stderr
    assert not changed(folder, before)
    lost = found(folder)[0][1]
    path = folder / "runs" / "small" / lost["run_id"]
    shutil.rmtree(path)
    rows = states(folder)
    assert [row["status"] for row in rows if "full" in row["run"]] == ["ok", "missing", "ok", "waiting", "waiting"]
    assert "waits for 1 of 3 trials" in {row["detail"] for row in rows}
    report = inside("report", "study.yaml", cwd=folder)
    assert report.returncode == 1
    assert "waiting: waits for 1 of 3 trials" in report.stdout
    assert inside("run", "study.yaml", cwd=folder).returncode == 0
    assert changed(folder, before) == {path / "record.json"}
    assert found(folder)[0][1]["selection"] == lost["selection"]


@pytest.mark.usefixtures("unplanned")
def test_a_study_that_is_stopped_goes_on_where_it_was_and_ends_the_same(tmp_path, llama, monkeypatch):
    asked = {"learning_rate": {"low": 1e-4, "high": 1e-1, "log": True}, "trials": 6, "sampler": "tpe"}
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    for folder in (whole, stopped):
        folder.mkdir()
        study(folder, llama, **{**TUNED, "methods": ["full"], "tune": asked, "seeds": 0})
    assert inside("run", "study.yaml", cwd=whole).returncode == 0

    supervise, calls = engine.supervise, []

    def stopping(*given):
        calls.append(given)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return supervise(*given)

    with monkeypatch.context() as patch:
        patch.setattr(engine, "supervise", stopping)
        assert inside("run", "study.yaml", cwd=stopped).returncode == 1
    before = times(stopped)
    assert len(before) == 5
    assert inside("run", "study.yaml", cwd=stopped).returncode == 0
    assert not changed(stopped, before) & set(before)
    one, two = found(whole), found(stopped)
    for first, second in zip((*one[0], *one[1]), (*two[0], *two[1]), strict=True):
        assert first["run_id"] == second["run_id"]
        assert first["selection"] == second["selection"]


@pytest.mark.usefixtures("unplanned")
def test_weak_trials_end_early_and_their_records_say_why(tmp_path, llama):
    rates = {"learning_rate": [1e-1, 1e-2, 3e-2, 1e-6, 1e-7, 1e-8]}
    study(tmp_path, llama, **{**TUNED, "methods": ["full"], "tune": rates, "seeds": 0})
    assert inside("run", "study.yaml", cwd=tmp_path).returncode == 0
    trials, (run,) = found(tmp_path)
    pruned = [trial for trial in trials if trial["selection"]["pruned"]]
    assert pruned
    for trial in pruned:
        told = trial["selection"]["pruned"]
        assert trial["status"] == "ok"
        assert trial["selection"]["stopped"] is None
        assert (told["epoch"], told["update"], told["planned"]) == (1, 4, 8)
        assert trial["selection"]["validation_losses"][0] == told["loss"] > told["limit"]
        assert trial["spec"]["trial"]["limits"][0] == told["limit"]
    assert run["spec"]["tuned"]["pruned"] == len(pruned)


@pytest.mark.usefixtures("unplanned")
def test_trials_that_fail_are_counted_and_a_method_of_which_all_fail_has_a_record_that_says_so(tmp_path, llama):
    methods = [{"full": {"tune": {"learning_rate": [1e30, 1e31]}}}, {"lora": {"tune": {"learning_rate": [1e30, 1e-2]}}}]
    study(tmp_path, llama, **{**TUNED, "methods": methods, "tune": {"trials": 2}, "seeds": 0})
    result = inside("run", "study.yaml", cwd=tmp_path)
    assert result.returncode == 1
    trials, runs = found(tmp_path)
    assert sorted(trial["status"] for trial in trials) == ["diverged", "diverged", "diverged", "ok"]
    by_method = {run["spec"]["method"]["name"]: run for run in runs}
    assert by_method["full"]["status"] == "failed"
    assert by_method["full"]["error"]["message"].startswith("all 2 trials failed")
    assert by_method["lora"]["status"] == "ok"
    assert by_method["lora"]["spec"]["tuned"]["failed"] == 1
    assert "failed: all 2 trials failed" in result.stdout
    before = times(tmp_path)
    assert inside("run", "study.yaml", cwd=tmp_path).returncode == 1
    assert not changed(tmp_path, before)
    assert not list(tmp_path.glob("runs/small/*/attempts"))


def test_a_plan_has_a_line_for_each_shape_and_tells_of_the_trials(tmp_path, llama):
    tune = {"learning_rate": RATES, "rank": [2, 4]}
    path = study(tmp_path, llama, **{**TUNED, "methods": ["full", "lora"], "tune": tune})
    result = inside("plan", path, "--quick", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert [line.split(" · ")[1] for line in result.stdout.splitlines() if "seeds 0–1" in line] == [
        "full",
        "lora rank=2",
        "lora rank=4",
    ]
    assert re.search(r"lora · fp32: tuned\. 6 trials come first, .* each at most; what they choose", result.stdout)
    assert json.loads(inside("plan", path, "--quick", "--json", cwd=tmp_path).stdout)["trials"]


def test_a_trial_cannot_be_exported(finished):
    folder, _ = finished
    result = inside("export", found(folder)[0][0]["run_id"], "--to", "merged", cwd=folder)
    assert result.returncode == 2
    assert "is trial 1 of 3" in result.stderr
    assert "weights were not kept" in result.stderr


def test_a_wrong_key_ends_with_2_and_nothing_is_run(tmp_path, llama):
    result = inside("run", study(tmp_path, llama, **{**TUNED, "tune": {"learning_rat": RATES}}), cwd=tmp_path)
    assert result.returncode == 2
    assert "tune.learning_rat: no method of the study has it; did you mean 'learning_rate'?" in result.stderr
    assert not (tmp_path / "runs").exists()
