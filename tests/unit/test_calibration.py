"""What runs teach the planner."""

from __future__ import annotations

import itertools
import statistics
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fairtune.plan.calibration import Learned, calibration_of, key_of, known, learn, learn_from
from fairtune.records import Phase, PhaseCost, Plan, PlannedPhase, RunRecord
from fairtune.units import parse_bytes

MIB = 2**20
SIMULATED = 1500
SHIPPED = calibration_of("cpu", "never seen")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FAIRTUNE_CACHE", str(tmp_path))
    return tmp_path


def plan(
    simulated: int = SIMULATED, runtime: int = 7, seconds: float | None = None, factor: float = 1.0, **changes: Any
) -> Plan:
    """Of a phase; what it says of the runtime must not matter."""
    terms = {"weights": simulated * MIB, "runtime": runtime * MIB}
    planned = PlannedPhase(peak_bytes=(simulated + runtime) * MIB, seconds=seconds, terms=terms, factor=factor)
    return Plan(**{"phases": {"train": planned}, "device": "cpu", "reason": None, **changes})


def costs(mebibytes: int, seconds: float = 20.0, phase: Phase = "train") -> dict[Phase, PhaseCost]:
    return {phase: PhaseCost(seconds=seconds, peak_bytes=mebibytes * MIB, memory="resident")}


def teach(*beyond: int, device: str = "cpu", processor: str = "one") -> Learned:
    """Runs that took so many MiB beyond what was simulated; what became of the last."""
    told = [learn(device, processor, plan(), costs(SIMULATED + each)) for each in beyond]
    assert told[-1] is not None
    return told[-1]


def test_from_three_runs_on_the_median_counts_whatever_the_plans_had_said() -> None:
    for beyond, runtime in ((500, 7), (900, 300)):
        learn("cpu", "one", plan(runtime=runtime), costs(SIMULATED + beyond))
        assert calibration_of("cpu", "one") == SHIPPED
    learn("cpu", "one", plan(runtime=0), costs(SIMULATED + 520))
    found = calibration_of("cpu", "one")
    assert found.runtime == {**SHIPPED.runtime, "train": 520 * MIB}
    assert found.runs == 3
    assert found.source == "3 runs on this machine; load, teach, evaluate, generate as shipped"


def test_the_order_of_runs_does_not_matter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = []
    for index, order in enumerate(itertools.permutations((380, 400, 505, 620))):
        monkeypatch.setenv("FAIRTUNE_CACHE", str(tmp_path / str(index)))
        teach(*order)
        found.append(calibration_of("cpu", "one"))
    assert all(each == found[0] for each in found)


def test_only_the_last_32_runs_count() -> None:
    teach(*[800] * 40, *[500] * 20)
    assert calibration_of("cpu", "one").runtime["train"] == 500 * MIB
    teach(*[800] * 10)
    found = calibration_of("cpu", "one")
    assert (found.runtime["train"], found.runs) == (500 * MIB, 70)


def test_less_than_was_simulated_is_no_runtime_and_is_told() -> None:
    told = teach(500, 510, 520, -700)
    found = calibration_of("cpu", "one")
    assert (found.runtime["train"], found.left_out) == (510 * MIB, 1)
    assert told.runs == 4
    (said,) = told.left_out
    assert said.startswith("train: 800 MiB were measured, and 1.46 GiB simulated")


def test_half_a_large_peak_is_no_runtime() -> None:
    told = teach(500, 510, 520, 1 + max(SIMULATED, *(2 * size // MIB for size in SHIPPED.runtime.values())))
    found = calibration_of("cpu", "one")
    assert (found.runtime["train"], found.left_out, len(told.left_out)) == (510 * MIB, 1, 1)


def test_a_small_model_teaches_although_its_peak_is_nearly_all_runtime() -> None:
    for beyond in (450, 460, 470):
        learn("cpu", "one", plan(simulated=2), costs(2 + beyond))
    assert calibration_of("cpu", "one").runtime["train"] == 460 * MIB


def test_the_spread_is_what_nine_of_ten_runs_stayed_within() -> None:
    beyond = range(500, 511)
    teach(*beyond)
    errors = sorted(abs((SIMULATED + each) / (SIMULATED + 505) - 1) for each in beyond)
    assert calibration_of("cpu", "one").spread["train"] == pytest.approx(errors[9])


def test_seconds_are_compared_with_what_rates_alone_said() -> None:
    for factor in (1.0, 4.0, 2.0):
        learn("cpu", "one", plan(seconds=10.0 * factor, factor=factor), costs(2000, 20.0))
    assert calibration_of("cpu", "one").speed == {"train": 2.0}


def test_seconds_of_a_moment_and_of_another_world_teach_nothing() -> None:
    for predicted, took in ((0.1, 0.9), (20.0, 20.0), (20.0, 22.0), (20.0, 21.0)):
        learn("cpu", "one", plan(seconds=predicted), costs(2000, took))
    told = learn("cpu", "one", plan(seconds=20.0), costs(2000, 2000.0))
    assert calibration_of("cpu", "one").speed == {"train": pytest.approx(1.05)}
    assert told is not None
    assert told.left_out == ("train: 2000.0 s were measured, 100 times what rates alone say; nothing is learned of it",)


def test_devices_are_apart_and_processors_too() -> None:
    teach(500, 500, 500)
    teach(20, 20, 20, device="rtx-4090", processor="NVIDIA GeForce RTX 4090")
    teach(300, 300, 300, processor="other")
    assert [(key, found.runtime["train"] // MIB) for key, found in known()] == [
        ("cpu: one", 500),
        ("cpu: other", 300),
        ("rtx-4090", 20),
    ]
    # A planner calls a card by its title, a record by its driver's name.
    assert calibration_of("rtx-4090", "NVIDIA RTX 4090 (24 GB)").runtime["train"] == 20 * MIB
    assert calibration_of("cpu", "a third") == SHIPPED


def test_what_ships_suits_the_kind_of_device() -> None:
    assert 300 * MIB < min(SHIPPED.runtime.values()) < max(SHIPPED.runtime.values()) < 1024 * MIB
    assert SHIPPED.runs == 0
    # cuBLAS's :4096:2:16:8, once for each direction.
    assert calibration_of("cuda", "a card").runtime["train"] == 2 * parse_bytes("8320KiB")
    assert calibration_of("t4", "").runtime == calibration_of("cuda", "a card").runtime
    assert calibration_of("mps", "a chip").runtime == {}


@pytest.mark.parametrize("damage", [b"{", b"\xff\xfe\x00", b'{"version": 2}', b'{"machines": {"cpu: one": 3}}'])
def test_a_damaged_file_is_told_and_what_ships_stands_in(cache: Path, damage: bytes) -> None:
    teach(500, 500, 500)
    (file,) = [path for path in (cache / "calibration").iterdir() if path.suffix != ".lock"]
    file.write_bytes(damage)
    found = calibration_of("cpu", "one")
    assert (found.runtime, found.runs) == (SHIPPED.runtime, 0)
    assert found.source == "shipped; what was learned here cannot be read: it is damaged, or of another version"
    assert teach(520, 520, 520).runs == 3
    assert calibration_of("cpu", "one").runtime["train"] == 520 * MIB


def test_a_cache_that_cannot_be_written_is_told(cache: Path) -> None:
    (cache / "calibration").write_text("a file where a folder should be", encoding="utf-8")
    told = teach(500)
    assert told.runs == 0
    assert "nothing of this run can be kept" in told.left_out[0]
    assert calibration_of("cpu", "one").runtime == SHIPPED.runtime


def test_nothing_is_lost_when_several_learn_at_once() -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(teach, range(400, 416)))
    found = calibration_of("cpu", "one")
    assert found.runs == 16
    assert found.runtime["train"] == statistics.median(range(400, 416)) * MIB


def test_a_bound_teaches_nothing_nor_does_a_plan_that_was_not_made() -> None:
    assert learn("cpu", "one", plan(simulated=1000).model_copy(update={"simulated": False}), costs(1300)) is None
    assert learn("cpu", "one", Plan(), costs(1300)) is None
    assert known() == []


def record(**changes: Any) -> RunRecord:
    """Of a run that took 600 MiB beyond what was simulated."""
    spec = type(
        "Spec", (), {"ranks": 1, "augment": None, "benchmarks": (), "precision": "fp32", **changes.pop("spec", {})}
    )
    place = type("Place", (), {"device_name": "one"})
    happened = {"status": "ok", "plan": plan(), "phases": costs(SIMULATED + 600), "resumed": (), "spec": spec}
    return RunRecord.model_construct(**{"provenance": place, **happened, **changes})


def test_a_record_teaches() -> None:
    for _ in range(3):
        learn_from(record())
    assert known() == [(key_of("cpu", "one"), calibration_of("cpu", "one"))]
    assert calibration_of("cpu", "one").runtime["train"] == 600 * MIB


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "out_of_memory"},
        {"plan": Plan()},
        {"provenance": None},
        {"resumed": ("once",)},
        {"spec": {"ranks": 2}},
        {"spec": {"benchmarks": ("hellaswag",)}},
        {"spec": {"augment": "eda"}},
    ],
)
def test_a_record_of_something_else_than_was_simulated_teaches_nothing(changes: dict[str, Any]) -> None:
    assert learn_from(record(**changes)) is None
    assert known() == []
