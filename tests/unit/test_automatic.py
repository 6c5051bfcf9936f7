"""What ``precision: auto`` stands for."""

from pathlib import Path

import pytest
import yaml

from fairtune.execute import read_request
from fairtune.models.automatic import automatic_precision
from tests import tiny

PROCESSORS = {
    "flags\t\t: fpu avx512f avx512_bf16\n": "bf16",
    "flags\t\t: fpu sse avx2 fma\n": "fp32",
    "Features\t: fp asimd bf16 sve\n": "bf16",
    "model name\t: bf16 in a name says nothing\n": "fp32",
}


@pytest.mark.parametrize("information", PROCESSORS)
def test_a_processor_without_products_of_bf16_gets_fp32(tmp_path, information, monkeypatch):
    monkeypatch.setattr("fairtune.models.automatic._NVIDIA", Path("/nowhere"))
    (tmp_path / "cpuinfo").write_text(information)
    assert automatic_precision("cpu", tmp_path / "cpuinfo") == PROCESSORS[information]
    assert automatic_precision("auto", tmp_path / "cpuinfo") == PROCESSORS[information]
    assert automatic_precision("mps", tmp_path / "cpuinfo") == "fp32"


def test_a_system_that_says_nothing_of_its_processor_gets_fp32(tmp_path):
    assert automatic_precision("cpu", tmp_path / "missing") == "fp32"


def test_auto_is_resolved_when_the_study_is_read_and_is_no_precision_of_its_own(tmp_path):
    tiny.write_jsonl(tmp_path / "rows.jsonl", tiny.rows(40))
    tiny.save_model(tmp_path / "model")
    told = {
        "name": "s",
        "task": {"name": "t", "train": "rows.jsonl", "test": 0.2},
        "models": ["./model"],
        "methods": ["base"],
    }

    def precisions(asked, automatic=None):
        (tmp_path / "study.yaml").write_text(yaml.safe_dump({**told, "precision": asked}))
        return [spec.precision for spec in read_request(tmp_path / "study.yaml", automatic=automatic).specs]

    assert precisions("auto", "bf16") == ["bf16"]
    assert precisions(["fp32", "auto"], "fp32") == ["fp32"]
    assert precisions("auto")[0] in {"fp32", "bf16"}
