"""Predictions beside measurements: what is compared with what."""

import pytest

from fairtune.records import PhaseCost, Plan, PlannedPhase, RunFolder, RunRecord
from fairtune.report.collect import Entry, Row
from fairtune.report.predicted import Pair, as_json, is_planned, largest, mean, whole_peak, whole_seconds
from tests.unit.test_study import GOOD, runs_of


@pytest.fixture
def spec(tmp_path):
    return runs_of(tmp_path, GOOD)[1]


def record(spec, planned, measured, status="ok"):
    """Phases by name: (bytes, seconds)."""
    phases = {name: PlannedPhase(peak_bytes=peak, seconds=seconds) for name, (peak, seconds) in planned.items()}
    plan = Plan(
        peak_bytes=max(peak for peak, _ in planned.values() if peak is not None),
        seconds=sum(seconds for _, seconds in planned.values() if seconds is not None),
        reason=None,
        phases=phases,
    )
    costs = {
        name: PhaseCost(seconds=seconds, peak_bytes=peak, memory="counted")
        for name, (peak, seconds) in measured.items()
    }
    return RunRecord(run_id=spec.run_id, study="s", status=status, spec=spec, plan=plan, phases=costs)


def row(tmp_path, *records):
    entries = tuple(Entry(each.spec, RunFolder(tmp_path), each) for each in records)
    return Row(entries, mean=len(entries) > 1)


PLANNED = {"load": (100, 1.0), "train": (300, 10.0), "evaluate": (200, 4.0)}


def test_the_error_is_a_share_of_what_was_measured():
    assert Pair(90, 100).error == pytest.approx(-0.1)
    assert Pair(110, 100).error == pytest.approx(0.1)
    assert [Pair(90, None).error, Pair(None, 90).error, Pair(90, 0).error] == [None] * 3


def test_the_whole_is_compared_over_the_phases_that_were_planned(spec):
    measured = {"load": (100, 2.0), "train": (400, 20.0), "evaluate": (100, 3.0), "check": (9000, 500.0)}
    found = record(spec, PLANNED, measured)
    assert whole_peak(found) == Pair(300, 400)
    assert whole_seconds(found) == Pair(15.0, 25.0)


def test_what_was_not_predicted_is_not_compared(spec):
    planned = {"load": (100, None), "train": (300, 10.0), "evaluate": (None, 4.0)}
    found = record(spec, planned, {"load": (500, 50.0), "train": (400, 20.0), "evaluate": (900, 4.0)})
    assert whole_peak(found) == Pair(300, 500)
    assert whole_seconds(found) == Pair(14.0, 24.0)


@pytest.mark.parametrize(
    ("measured", "status"),
    [({"load": (100, 2.0)}, "ok"), (dict.fromkeys(PLANNED, (100, 2.0)), "out_of_memory"), ({}, "does_not_fit")],
)
def test_a_run_that_did_not_come_through_has_no_error_as_a_whole(spec, measured, status):
    found = record(spec, PLANNED, measured, status)
    assert whole_peak(found) == Pair(300, None)
    assert whole_seconds(found) == Pair(15.0, None)


def test_of_several_runs_memory_is_the_largest_and_time_the_mean(spec, tmp_path):
    runs = [
        record(spec, {"train": (peak, seconds)}, {"train": (2 * peak, 2 * seconds)})
        for peak, seconds in ((100, 1.0), (300, 3.0))
    ]
    found = row(tmp_path, *runs)
    assert largest(found, whole_peak) == Pair(300, 600)
    assert mean(found, whole_seconds) == Pair(2.0, 4.0)
    # One that has only half of the numbers says nothing beside those that have both.
    found = row(tmp_path, *runs, record(spec, {"train": (900, 9.0)}, {}))
    assert largest(found, whole_peak) == Pair(300, 600)
    assert mean(row(tmp_path, record(spec, {"train": (900, 9.0)}, {})), whole_seconds) == Pair(9.0, None)


def test_for_programs_every_phase_has_both_numbers_and_the_error(spec):
    found = as_json(record(spec, {"train": (90, 5.0)}, {"train": (100, 4.0), "generate": (50, 1.0)}))
    assert list(found["phases"]) == ["train", "generate"]
    assert found["phases"]["train"]["peak_bytes"] == {"predicted": 90, "measured": 100, "error": pytest.approx(-0.1)}
    assert found["phases"]["generate"]["seconds"] == {"predicted": None, "measured": 1.0, "error": None}
    assert found["seconds"]["error"] == pytest.approx(0.25)


def test_a_plan_without_numbers_is_none(spec):
    assert not is_planned([None, RunRecord(run_id="a", study="s", status="ok", spec=spec)])
    assert is_planned([record(spec, PLANNED, {})])
