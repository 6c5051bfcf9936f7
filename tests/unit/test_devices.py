"""Devices as data, and this machine's processor as it was measured."""

import dataclasses
import json
import math
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch

from fairtune.errors import BudgetError, FairtuneError, SpecError
from fairtune.plan.devices import DEVICES, DTYPES, FIGURES, find_device, reported_as
from fairtune.plan.here import as_reported, device_here, devices_here
from fairtune.plan.measure import (
    Rates,
    Timed,
    _group_limit,
    _share_left,
    keep_rates,
    known_rates,
    measure_cpu,
    rates_from,
    this_cpu,
)
from fairtune.report.devices_table import device_json, device_rows, markdown_page, rate_rows, with_those_here
from tests.cli.command import inside

ROOT = Path(__file__).parents[2]
GIB = 2**30


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FAIRTUNE_CACHE", str(tmp_path / "cache"))


def some_rates(threads=1, **changes):
    """Streamed products: 1, 10 and 100 GFLOP/s at 1, 10 and 100 rows, twice that with a weight 100 times as large."""
    products = [
        Timed("fp32", True, rows, elements, rows * 1e9 * factor)
        for elements, factor in ((10**4, 1), (10**6, 2))
        for rows in (1, 10, 100)
    ]
    products.append(Timed("fp32", False, 8, 10**5, 7e9))
    rates = Rates("a processor", threads, "2.0", tuple(products), 2e10, 3e-6, 1.0)
    return dataclasses.replace(rates, **changes)


# --- profiles ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DEVICES)
def test_every_figure_has_a_source_and_a_missing_one_its_reason(name):
    device = DEVICES[name]
    assert set(device.sources) == set(FIGURES)
    assert all(len(source) > 10 for source in device.sources.values())
    assert set(device.flops) == set(DTYPES)
    assert 0 < device.achieved <= 1
    assert device.name == name
    if device.kind != "cpu":
        assert device.memory_bytes > 4 * GIB
        assert device.bandwidth > 5e10
        assert device.flops["fp32"] > 1e12


# Multiprocessors, dense FLOP a cycle and multiprocessor on tensor cores (fp32 accumulation), boost clock in GHz.
TENSOR_CORES = {
    "t4": (40, 1024, 1.59),
    "rtx-3060-12gb": (28, 512, 1.777),
    "rtx-3080-ti": (80, 512, 1.665),
    "rtx-3090": (82, 512, 1.695),
    "rtx-4090": (128, 512, 2.52),
    "l4": (58, 1024, 2.04),
    "l40s": (142, 1024, 2.52),
    "a10g": (80, 512, 1.71),
    "a100-40gb": (108, 2048, 1.41),
    "a100-80gb": (108, 2048, 1.41),
    "h100-80gb": (132, 4096, 1.83),
    "h100-pcie": (114, 4096, 1.62),
    "h200": (132, 4096, 1.83),
}


@pytest.mark.parametrize("name", TENSOR_CORES)
def test_rates_are_dense_and_not_those_with_sparsity(name):
    multiprocessors, operations, clock = TENSOR_CORES[name]
    assert DEVICES[name].flops["fp16"] == pytest.approx(multiprocessors * operations * clock * 1e9, rel=0.02)


def test_tensor_cores_are_faster_in_16_bits_and_alike_in_both_formats():
    cards = [device for device in DEVICES.values() if device.kind == "cuda"]
    assert {device.name for device in cards if "-mig-" not in device.name} == set(TENSOR_CORES)
    for device in cards:
        assert device.flops["bf16"] in (None, device.flops["fp16"])
        assert device.flops["fp16"] > 1.9 * device.flops["fp32"]
    assert [device.name for device in cards if device.flops["bf16"] is None] == ["t4"]


@pytest.mark.parametrize("card", ["a100", "h100"])
def test_slices_are_shares_of_their_whole(card):
    whole = DEVICES[f"{card}-80gb"]
    for gigabytes, memory_slices, products in ((10, 1, 1), (20, 2, 2), (40, 4, 3)):
        piece = DEVICES[f"{card}-mig-{gigabytes}gb"]
        shares = {piece.flops[dtype] / whole.flops[dtype] for dtype in DTYPES}
        assert max(shares) - min(shares) < 1e-12
        assert products / 8 - 0.01 < min(shares) < products / 6.5
        assert piece.bandwidth == whole.bandwidth * memory_slices / 8
        assert 0.94 < piece.memory_bytes / (whole.memory_bytes * memory_slices / 8) <= 1
        assert piece.interconnect is None


def test_a_device_is_found_by_its_name_and_another_gets_the_nearest():
    assert find_device(" RTX-4090 ") is DEVICES["rtx-4090"]
    for wrong, right in (("4090", "rtx-4090"), ("h100-mig-21gb", "h100-mig-20gb"), ("m2pro", "m2-pro")):
        with pytest.raises(
            SpecError, match=rf"device '{wrong}': unknown; did you mean '{right}'\? allowed: a100-40gb,"
        ):
            find_device(wrong)
    with pytest.raises(SpecError, match=r"'h100': unknown; there are h100-80gb, h100-pcie, h100-mig-10gb, .*-40gb$"):
        find_device("h100")


def test_memory_can_be_given_and_says_so():
    asked = find_device("m3-max").with_memory(96 * GIB)
    assert asked.memory_bytes == 96 * GIB
    assert asked.sources["memory_bytes"] == "as asked"
    assert asked.flops == DEVICES["m3-max"].flops
    assert {asked, DEVICES["m3-max"]} == {DEVICES["m3-max"], asked}


@pytest.mark.parametrize(
    ("reported", "name"),
    [
        ("Tesla T4", "t4"),
        ("NVIDIA GeForce RTX 3080 Ti", "rtx-3080-ti"),
        ("NVIDIA L4", "l4"),
        ("NVIDIA L40S", "l40s"),
        ("NVIDIA A100-SXM4-40GB", "a100-40gb"),
        ("NVIDIA A100-SXM4-80GB", "a100-80gb"),
        ("NVIDIA A100 80GB PCIe", "a100-80gb"),
        ("NVIDIA A100 80GB PCIe MIG 1g.10gb", "a100-mig-10gb"),
        ("NVIDIA H100 80GB HBM3", "h100-80gb"),
        ("NVIDIA H100 80GB HBM3 MIG 2g.20gb", "h100-mig-20gb"),
        ("NVIDIA H100 PCIe", "h100-pcie"),
        ("Apple M1", "m1"),
        ("Apple M4 Max", "m4-max"),
        ("NVIDIA L40", None),
        ("NVIDIA GeForce RTX 3080 Ti Laptop GPU", None),
        ("NVIDIA H100 80GB HBM3 MIG 7g.80gb", None),
        ("AMD EPYC", None),
    ],
)
def test_a_profile_is_known_by_what_the_driver_calls_the_device(reported, name):
    found = reported_as(reported)
    assert (found.name if found else None) == name


def test_a_card_that_is_there_has_its_real_memory_and_one_without_a_profile_no_rates():
    card = as_reported("cuda", "NVIDIA GeForce RTX 3060", 12044 * 2**20)
    assert (card.name, card.memory_bytes) == ("rtx-3060-12gb", 12044 * 2**20)
    for name in ("NVIDIA GeForce RTX 3060", "NVIDIA Whatever"):  # the one with 8 GB has another memory and bandwidth
        other = as_reported("cuda", name, 8 * GIB)
        assert (other.name, other.title, other.memory_bytes) == ("cuda", name, 8 * GIB)
        assert (*other.flops.values(), other.bandwidth) == (None, None, None, None)
        assert other.sources["fp32"] == other.sources["bandwidth"] == f"no profile of '{name}' with 8.00 GiB"
        assert set(other.sources) == set(FIGURES)


# --- what is here --------------------------------------------------------------------------------------------------


def test_the_processor_is_there_with_all_memory_that_a_process_can_have(empty_cache):
    device = find_device("cpu")
    assert 0 < device.memory_bytes <= psutil.virtual_memory().total
    assert device.kind == "cpu"
    assert set(device.flops.values()) == {None}
    if not torch.cuda.is_available():
        with pytest.raises(BudgetError, match=r"device 'cuda:1' is not there: this machine.* has .*cpu"):
            find_device("cuda:1")
    assert find_device("auto").kind == devices_here()[0].kind == device_here("auto").kind


def test_wrong_requests_exit_with_2_like_all_others():
    with pytest.raises(FairtuneError):
        find_device("gpu")
    with pytest.raises(FairtuneError):
        find_device("cpu:1")


def test_the_lowest_limit_of_the_control_groups_counts(tmp_path):
    own = tmp_path / "own"
    own.write_text("12:memory:/old\n0::/slurm/job_7/step\n")
    for folder, limit in (("", None), ("slurm", "max"), ("slurm/job_7", "4096"), ("slurm/job_7/step", "8192")):
        (tmp_path / "root" / folder).mkdir()
        if limit:
            (tmp_path / "root" / folder / "memory.max").write_text(f"{limit}\n")
    assert _group_limit(tmp_path / "root", own) == 4096
    (tmp_path / "root/slurm/job_7/memory.max").write_text("max\n")
    (tmp_path / "root/slurm/job_7/step/memory.max").write_text("max\n")
    assert _group_limit(tmp_path / "root", own) is None
    assert _group_limit(tmp_path / "root", tmp_path / "nowhere") is None


def test_planning_for_a_named_device_needs_no_torch():
    code = (
        "import sys; from fairtune.plan.devices import find_device; find_device('t4'); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# --- rates of a processor ------------------------------------------------------------------------------------------


def test_a_product_takes_what_was_timed_and_between_it_is_interpolated():
    rates = some_rates()
    assert rates.seconds_of_product(10, 1000, 1000, "fp32") == pytest.approx(2e7 / 20e9)
    assert rates.seconds_of_product(10, 100, 100, "fp32") == pytest.approx(2e5 / 10e9)
    between = round(math.sqrt(10 * 100))
    assert rates.seconds_of_product(between, 1000, 1000, "fp32") == pytest.approx(2e6 * between / (between * 2e9))
    assert rates.seconds_of_product(10, 100, 1000, "fp32") == pytest.approx(2e6 / (10e9 * math.sqrt(2)))
    assert rates.seconds_of_product(10, 1000, 100, "fp32") == rates.seconds_of_product(10, 100, 1000, "fp32")


def test_beyond_what_was_timed_rates_stay_and_a_call_costs_its_overhead():
    rates = some_rates()
    assert rates.seconds_of_product(1000, 5000, 5000, "fp32") == pytest.approx(5e10 / 200e9)
    assert rates.seconds_of_product(1, 2, 2, "fp32") == rates.overhead_seconds


def test_narrow_products_are_not_those_of_a_weight_from_memory():
    rates = some_rates()
    assert rates.seconds_of_product(1000, 8, 576, "fp32") == pytest.approx(2 * 1000 * 8 * 576 / 7e9)
    assert rates.seconds_of_product(1000, 576, 8, "fp32") == pytest.approx(2 * 1000 * 8 * 576 / 7e9)
    with pytest.raises(KeyError):
        rates.seconds_of_product(1, 1, 1, "int8")


def test_rates_survive_json():
    rates = some_rates()
    assert rates_from(json.loads(json.dumps(rates.as_json()))) == rates


def test_what_was_measured_is_remembered_for_its_number_of_threads(empty_cache):
    assert known_rates(threads=2) is None
    kept = some_rates(threads=2)
    keep_rates(kept)
    assert measure_cpu(threads=2) == known_rates(threads=2) == kept
    assert known_rates(threads=3) is None


def test_the_processor_has_the_rates_that_were_measured(empty_cache):
    keep_rates(some_rates(threads=torch.get_num_threads()))
    device = this_cpu()
    assert device.flops == {"fp32": 200e9, "bf16": None, "fp16": None}
    assert device.bandwidth == 2e10
    assert set(device.sources) == set(FIGURES)
    assert this_cpu(some_rates(bandwidth=1e9)).bandwidth == 1e9


def test_a_busy_machine_is_noticed():
    assert _share_left(busy=0.5, own=1.0, cores=2, threads=1) == 1
    assert _share_left(busy=1.0, own=1.0, cores=2, threads=2) == 0.5
    assert _share_left(busy=1.0, own=1.9, cores=2, threads=2) == pytest.approx(0.95)
    assert some_rates(steady=0.95).is_steady
    assert not some_rates(steady=0.5).is_steady


def test_this_processor_can_be_measured(empty_cache):
    threads = torch.get_num_threads()
    rates = measure_cpu(threads=1, again=True)
    assert torch.get_num_threads() == threads
    assert all(timed.flops > 0 for timed in rates.products)
    assert rates.bandwidth > 0 < rates.overhead_seconds < 1
    assert {timed.dtype for timed in rates.products} == set(DTYPES)
    for dtype in ("fp32", "bf16"):  # one row waits for memory, many rows do not
        alone, many = (rates.seconds_of_product(rows, 1536, 576, dtype) / rows for rows in (1, 128))
        assert many < alone
    assert (known_rates(threads=1) == rates) is rates.is_steady


# --- what the user sees --------------------------------------------------------------------------------------------


def test_the_documentation_has_what_the_command_prints(tmp_path):
    assert markdown_page() in (ROOT / "docs" / "devices.md").read_text(encoding="utf-8")
    assert inside("devices", "--markdown", cwd=tmp_path).stdout == markdown_page()


def test_people_see_every_device_and_which_is_here(tmp_path, empty_cache):
    found = inside("devices", cwd=tmp_path)
    assert found.returncode == 0
    lines = found.stdout.splitlines()
    assert [line.split()[0] for line in lines[1 : len(DEVICES) + 1]] == list(DEVICES)
    assert next(line for line in lines if line.startswith("cpu")).rstrip().endswith("✓")
    assert "`fairtune devices --measure`" in found.stderr


def test_programs_get_every_figure_with_its_source(tmp_path, empty_cache):
    keep_rates(some_rates(threads=torch.get_num_threads()))
    rows = json.loads(inside("devices", "--json", cwd=tmp_path).stdout)
    assert [row["name"] for row in rows] == list(DEVICES)
    for row in rows:
        assert {"kind", "memory_bytes", "flops", "bandwidth", "interconnect", "sources", "here"} <= set(row)
    processor = rows[-1]
    assert processor["here"]
    assert rates_from(processor["measured"]) == some_rates(threads=torch.get_num_threads())


def test_a_device_without_a_profile_has_a_row_of_its_own():
    here = [as_reported("cuda", "NVIDIA Whatever", 8 * GIB)]
    devices = with_those_here(here)
    assert list(devices) == [*DEVICES, "cuda"]
    row = device_rows(devices, here)[-1]
    assert (row["name"], row["memory"], row["fp32 TFLOP/s"], row["here"]) == ("cuda", "8.00 GiB", None, "✓")
    assert device_json(devices, here, None)[-1]["here"]


def test_what_was_timed_is_told_by_rows_of_the_product():
    assert [row["rows"] for row in rate_rows(some_rates().as_json())] == [1, 10, 100]
    assert rate_rows(some_rates().as_json())[1] == {
        "rows": 10,
        "fp32 GFLOP/s": 20.0,
        "bf16 GFLOP/s": None,
        "fp16 GFLOP/s": None,
    }
