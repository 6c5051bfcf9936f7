"""Plans as people and programs read them."""

import io
import itertools
import json

import pytest
from rich.console import Console

from fairtune.records import Plan, PlannedPhase
from fairtune.report.plan_table import PlanReport, plan_document, print_plans
from tests.unit.test_study import GOOD, runs_of

GIB = 2**30
PEAKS = {"load": 2.5, "train": 23.1, "evaluate": 4.0, "generate": 3.0}


def plan(verdict="fits", train=23.1, **changes):
    phases = {
        phase: PlannedPhase(peak_bytes=int((train if phase == "train" else peak) * GIB), seconds=60.0)
        for phase, peak in PEAKS.items()
    }
    fields = {
        "peak_bytes": int(train * GIB),
        "seconds": 240.0,
        "reason": None,
        "device": "t4",
        "budget_bytes": 20 * GIB,
        "verdict": verdict,
        "binding": "logits 9.8 GiB of 23.1",
        "phases": phases,
        "batch_tokens": 1024,
    }
    return Plan.model_validate({**fields, **changes})


@pytest.fixture
def specs(tmp_path):
    """Base, then full, lora of rank 8 and lora of rank 16, each with seeds 0 and 1; in fp32, then in bf16."""
    return runs_of(tmp_path, GOOD)[:7]


def report(runs, **changes):
    given = {
        "study": "small",
        "device": "t4",
        "title": "NVIDIA T4",
        "device_from": "by --device",
        "budget_bytes": 20 * GIB,
        "budget_from": "by --memory",
    }
    return PlanReport(**{**given, "runs": tuple(runs), **changes})


def drawn(found, width=200):
    text = io.StringIO()
    print_plans(found, Console(file=text, width=width))
    return text.getvalue()


def rename(spec, name):
    return spec.model_copy(update={"model": spec.model.model_copy(update={"name": name})})


def test_cells_that_differ_in_their_seed_are_a_line_with_what_takes_most(specs):
    plans = [plan(train=train) for train in (1, 5, 6, 7, 7, 8, 8)]
    found = drawn(report(zip(specs, plans, strict=True)))
    (full,) = [line for line in found.split("\n") if "full" in line]
    assert "seeds 0–1" in full
    assert "6.00 GiB" in full
    assert "5.00 GiB" not in full
    assert len([line for line in found.split("\n") if " · " in line]) == 4
    (base,) = [line for line in found.split("\n") if "base" in line]
    assert "seed" not in base


def test_seeds_with_different_verdicts_are_lines_of_their_own(specs):
    found = drawn(report(zip(specs[1:3], [plan("tight", 19), plan("does_not_fit", 21)], strict=True)))
    first, second = [line for line in found.split("\n") if "full" in line]
    assert ("seed 0" in first, "tight" in first) == (True, True)
    assert ("seed 1" in second, "does not fit" in second) == (True, True)


def test_every_phase_has_its_column_and_what_is_missing_a_dash(specs):
    base = plan(phases={"load": PlannedPhase(peak_bytes=GIB, seconds=None, reason="no rates of a T4 are known")})
    found = drawn(report([(specs[0], base), (specs[1], plan()), (specs[3], Plan(reason="no configuration"))]))
    heading, first, _, unknown, *notes = found.split("\n")
    assert heading.split()[:7] == ["run", "verdict", "load", "train", "evaluate", "generate", "mostly"]
    assert "1.00 GiB" in first
    assert "–" not in first  # it neither trains nor writes
    assert unknown.count("–") == 4 + 3
    assert "–: load: no rates of a T4 are known" in notes


def test_below_stand_advice_reasons_and_assumptions_each_once_and_the_device(specs):
    advice = "budget: {batch_tokens: 256}"
    plans = [
        plan(assumed=("tokens are estimated",)),
        *[plan("does_not_fit", advice=advice, assumed=("tokens are estimated", "no context is known"))] * 4,
        *[Plan(reason="its config.json is not here")] * 2,
    ]
    found = drawn(report(zip(specs, plans, strict=True)))
    assert f"full · fp32 · seeds 0–1 and 1 more: does not fit; {advice}" in found
    assert "lora rank=16 · fp32 · seeds 0–1: unknown: its config.json is not here" in found
    for text in (advice, "Assumed: tokens are estimated", "Assumed: no context is known"):
        assert found.count(text) == 1
    assert "Device: NVIDIA T4 (t4), by --device. Budget: 20.00 GiB for each process, by --memory." in found


def test_a_bound_is_marked_as_one(specs):
    found = drawn(report([(specs[0], plan(simulated=False)), (specs[1], plan())]))
    assert "fits *" in found
    assert "* a bound" in found
    assert "*" not in drawn(report([(specs[1], plan())]))


LONG = [
    "Llama-3.2-1B-Instruct",
    "Meta-Llama-3.1-8B-Instruct-with-a-name-that-goes-on",
    "SmolLM2-135M-Instruct.Q4_1.gguf",
    "Onewordthatisverymuchlongerthanitscolumnsothatnothingcanbedone",
]


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120])
@pytest.mark.parametrize("name", LONG)
def test_no_number_and_no_part_of_a_name_is_cut_on_a_narrow_terminal(specs, name, width):
    named = [rename(spec, name) for spec in specs]
    verdicts = itertools.cycle(["fits", "tight", "does_not_fit", "unknown"])
    found = drawn(report((spec, plan(fit)) for spec, fit in zip(named, verdicts, strict=False)), width)
    for text in ("2.50 GiB", "23.10 GiB", "4.00 GiB", "3.00 GiB", "4m 00s", "1,024", "tight", "unknown"):
        assert text in found
    words = set(found.split())
    for part in name.replace("-", "- ").replace("_", "_ ").split():
        assert any(part in word for word in words), part
    assert "…" not in found
    if width >= 80 and name != LONG[-1]:
        assert max(map(len, found.split("\n"))) <= width


def test_the_document_keeps_its_contract(specs):
    found = plan_document(report([(specs[1], plan("tight", advice="nothing", assumed=("something",)))]))
    assert json.loads(json.dumps(found)) == found
    assert (found["device"], found["budget_bytes"]) == ("t4", 20 * GIB)
    (run,) = found["runs"]
    assert set(run) >= {"run_id", "model", "method", "precision", "seed", "verdict", "binding", "phases"}
    assert set(run) >= {"advice", "batch_tokens", "simulated", "assumed", "reason", "peak_bytes", "seconds"}
    assert list(run["phases"]) == list(PEAKS)
    told = {"peak_bytes": 4 * GIB, "seconds": 60.0, "terms": {}, "factor": 1.0, "reason": None}
    assert run["phases"]["evaluate"] == told
    assert (run["method"], run["precision"], run["seed"], run["verdict"]) == ("full", "fp32", 0, "tight")


@pytest.mark.parametrize(
    ("verdict", "ok"), [("fits", True), ("tight", True), ("does_not_fit", False), ("unknown", False)]
)
def test_only_what_surely_fits_is_well(specs, verdict, ok):
    assert report([(specs[0], plan()), (specs[1], plan(verdict))]).ok == ok
