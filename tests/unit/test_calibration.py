"""What runs teach the planner."""

from __future__ import annotations

from pathlib import Path

import pytest

from fairtune.plan import calibration
from fairtune.plan.calibration import calibration_of, known, learn
from fairtune.records import PhaseCost, Plan, PlannedPhase

MIB = 2**20


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIRTUNE_CACHE", str(tmp_path))


def plan(simulated: int, runtime: int = 7, seconds: float = 10.0, factor: float = 1.0) -> Plan:
    terms = {"weights": simulated * MIB, "runtime": runtime * MIB}
    train = PlannedPhase(peak_bytes=(simulated + runtime) * MIB, seconds=seconds, terms=terms, factor=factor)
    return Plan(phases={"train": train}, device="cpu", reason=None)


def cost(peak: int, seconds: float = 20.0) -> dict[str, PhaseCost]:
    return {"train": PhaseCost(seconds=seconds, peak_bytes=peak * MIB, memory="resident")}


def test_from_three_runs_on_the_median_counts_whatever_the_plans_had_said() -> None:
    shipped = calibration_of("cpu", "a processor").runtime["train"]
    for count, (beyond, runtime) in enumerate(((500, 7), (900, 300), (520, 0))):
        assert calibration_of("cpu", "a processor").runtime["train"] == shipped, count
        learn("cpu", "a processor", plan(1000, runtime), cost(1000 + beyond))  # type: ignore[arg-type]
    found = calibration_of("cpu", "a processor")
    assert found.runtime["train"] == 520 * MIB
    assert found.runs == 3
    assert known() == ["cpu: a processor"]


def test_seconds_are_compared_with_what_rates_alone_said() -> None:
    for factor in (1.0, 4.0, 2.0):
        learn("cpu", "a processor", plan(1000, seconds=10.0 * factor, factor=factor), cost(1500, 20.0))  # type: ignore[arg-type]
    assert calibration_of("cpu", "a processor").speed["train"] == 2.0


def test_devices_are_apart() -> None:
    for _ in range(3):
        learn("cpu", "one", plan(1000), cost(1300))  # type: ignore[arg-type]
    assert calibration_of("cpu", "one").runtime["train"] == 300 * MIB
    assert calibration_of("cpu", "other").runs == 0
    assert not calibration_of("t4", "one").runtime


def test_what_is_beyond_reason_teaches_nothing() -> None:
    for peak in (900, 9000, 900):
        learn("cpu", "one", plan(1000), cost(peak))  # type: ignore[arg-type]
    assert calibration_of("cpu", "one").runs == 0
    bound = plan(1000).model_copy(update={"simulated": False})
    for _ in range(3):
        learn("cpu", "one", bound, cost(1300))  # type: ignore[arg-type]
    assert calibration_of("cpu", "one").runs == 0


def test_only_the_last_runs_count_and_a_damaged_file_is_none() -> None:
    for _ in range(40):
        learn("cpu", "one", plan(1000), cost(1100))  # type: ignore[arg-type]
    for _ in range(20):
        learn("cpu", "one", plan(1000), cost(1400))  # type: ignore[arg-type]
    found = calibration_of("cpu", "one")
    assert (found.runs, found.runtime["train"]) == (32, 400 * MIB)
    calibration.remember("calibration", "cpu: one", "{ damaged")
    assert calibration_of("cpu", "one").runs == 0
