"""``fairtune compare``, through the real command line, on the example that ships."""

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.command import inside

EXAMPLE = Path(__file__).parents[2] / "examples" / "close-call"


def told(*arguments, cwd):
    done = inside("compare", *arguments, cwd=cwd)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def test_the_shipped_example_answers_whether_8_points_of_bleu_on_100_items_are_any(tmp_path):
    said = told(str(EXAMPLE / "a"), str(EXAMPLE / "b"), cwd=tmp_path)
    assert "20.2 [" in said
    assert "11.9 [" in said
    assert "on these 100 items no difference is shown" in said
    assert "takes about 440 items" in said
    assert "7 items are better with lora rank=8, 5 worse, 88 the same" in said
    assert "'friday, 25 de mayo de 1962'" in said
    assert "other seeds must say" in said


def test_as_json_it_is_an_entry_of_comparisons_a_metric(tmp_path):
    records = (str(EXAMPLE / name / "record.json") for name in ("a", "b"))
    found = json.loads(told(*records, "--json", "--margin", "bleu=2", cwd=tmp_path))
    assert [entry["metric"] for entry in found] == ["bleu", "rouge_l", "chrf", "exact_match"]
    keys = {"metric", "a", "b", "n", "difference", "low", "high", "p", "p_adjusted", "verdict"}
    assert all(keys <= entry.keys() for entry in found)
    bleu = found[0]
    assert (bleu["verdict"], bleu["n"], bleu["margin"]) == ("no difference shown", 100, 2.0)
    assert bleu["low"] < 0 < bleu["difference"] < bleu["smallest"]
    assert bleu["p_no_worse"] < 0.05


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--margin", "blue=1"], "the runs have no metric 'blue'; did you mean 'bleu'?"),
        (["--margin", "bleu"], "write a metric and what may be lost, such as bleu=0.5"),
        (["--margin", "bleu=-1"], "what may be lost is above 0"),
        (["--match", "name"], "--match name: unknown"),
    ],
)
def test_a_wrong_request_says_what_is_allowed(tmp_path, arguments, reason):
    done = inside("compare", str(EXAMPLE / "a"), str(EXAMPLE / "b"), *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert reason in " ".join(done.stderr.split())


def test_a_run_that_is_not_there_and_one_that_lost_its_items_are_told(tmp_path):
    missing = inside("compare", str(EXAMPLE / "a"), "nothing", cwd=tmp_path)
    assert missing.returncode == 2
    assert "neither a run folder nor the beginning of a run id" in " ".join(missing.stderr.split())
    shutil.copytree(EXAMPLE / "b", tmp_path / "b")
    lines = (tmp_path / "b" / "examples" / "bleu.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "b" / "examples" / "bleu.jsonl").write_text("".join(lines[:90]))
    fewer = inside("compare", str(EXAMPLE / "a"), "b", cwd=tmp_path)
    assert fewer.returncode == 2
    assert "bleu: the first run has 100 items, the second 90, and 90 are the same; --shared" in " ".join(
        fewer.stderr.split()
    )
    assert "90 items are in both runs and were compared" in told(str(EXAMPLE / "a"), "b", "--shared", cwd=tmp_path)
