"""What is said and done about plans before the first run of a study starts."""

import pytest

import fairtune.execute.fit as fit
from fairtune.errors import BudgetError
from fairtune.execute.plans import Plans
from fairtune.records import Plan, PlannedPhase, RunRecord
from tests.unit.test_study import GOOD, runs_of


@pytest.fixture
def specs(tmp_path):
    return runs_of(tmp_path, GOOD)[:6]


def planned(specs, monkeypatch, verdicts):
    """What is asked of the process, and what is said, where it answers with these verdicts."""
    asked, said = [], []
    plans = {spec.run_id: Plan(verdict=verdict, reason=None) for spec, verdict in zip(specs, verdicts, strict=True)}

    def made(request, nursery, tell):
        asked.append(request)
        return Plans(None, plans, 4.1)

    monkeypatch.setattr(fit, "make_plans", made)
    found = fit.plan_missing([(spec, None) for spec in specs], None, said.append, again=False)
    assert found == plans
    return asked, said


def test_the_line_counts_every_verdict(specs, monkeypatch):
    for verdicts, words in (
        (["fits"] * 5 + ["does_not_fit"], "planned 6 runs in 4.1s: 5 fit, 1 does not"),
        (["fits", "tight", "tight", "does_not_fit", "does_not_fit", "unknown"], None),
    ):
        asked, said = planned(specs, monkeypatch, verdicts)
        assert said == [words or "planned 6 runs in 4.1s: 1 fits, 2 are tight, 2 do not, 1 is unknown"]
        (request,) = asked
        assert [spec.run_id for spec in request.specs] == [spec.run_id for spec in specs]
        assert not request.thorough


def test_a_wrong_request_is_a_reason_and_no_obstacle(specs, monkeypatch):
    def refused(*_):
        raise BudgetError("device 'cuda' is not there")

    monkeypatch.setattr(fit, "make_plans", refused)
    said = []
    found = fit.plan_missing([(spec, None) for spec in specs], None, said.append, again=False)
    assert {plan.verdict for plan in found.values()} == {"unknown"}
    assert {plan.reason for plan in found.values()} == {"planning failed: device 'cuda' is not there"}
    assert said == ["not planned, so runs start unseen: device 'cuda' is not there"]


REFUSED = Plan(
    verdict="does_not_fit",
    reason=None,
    device="t4",
    budget_bytes=15 * 2**30,
    peak_bytes=30 * 2**30,
    binding="logits 9.8 GiB of 30.0",
    phases={
        "load": PlannedPhase(peak_bytes=2**30, seconds=None),
        "train": PlannedPhase(peak_bytes=30 * 2**30, seconds=1),
    },
)


@pytest.mark.parametrize(
    ("budget", "parallel", "again", "holds"),
    [
        ({}, {}, False, True),
        ({"time": 60.0}, {}, False, True),
        ({"memory": 2**34}, {}, False, False),
        ({"device": "cuda"}, {}, False, False),
        ({"batch_tokens": 256}, {}, False, False),
        ({}, {"processes": 2}, False, False),
        ({}, {}, True, False),
    ],
)
def test_an_earlier_refusal_is_known_as_long_as_what_decides_it_is_asked_for(
    specs, monkeypatch, budget, parallel, again, holds
):
    spec = specs[1]
    record = RunRecord(run_id=spec.run_id, study="s", status="does_not_fit", spec=spec, plan=REFUSED)
    now = spec.model_copy(
        update={
            "budget": spec.budget.model_copy(update=budget),
            "parallel": spec.parallel.model_copy(update=parallel),
        }
    )
    asked = []
    monkeypatch.setattr(fit, "make_plans", lambda request, *_: asked.append(request) or Plans(None, request.known, 1.0))
    fit.plan_missing([(now, record)], None, lambda text: None, again)
    assert asked[0].known == ({spec.run_id: REFUSED} if holds else {})


def test_why_a_run_was_not_started_has_the_numbers_and_the_way_out():
    assert fit.why_not(REFUSED) == (
        "predicted: needs 30.00 GiB to train (load 1.00 GiB), and may take 15.00 GiB of t4; mostly logits 9.8 GiB of "
        "30.0; `fairtune plan` looks for what would make it fit; `fairtune run --force` starts it all the same"
    )
    advised = REFUSED.model_copy(update={"advice": "budget: {batch_tokens: 64}"})
    assert "; budget: {batch_tokens: 64}; `fairtune run --force`" in fit.why_not(advised)
    assert "needs 3.00 GiB, and" in fit.why_not(
        Plan(peak_bytes=3 * 2**30, budget_bytes=2**31, device="cpu", reason=None)
    )
