"""Precisions through the command line: counted, told apart, refused."""

import json

from fairtune.train.scaling import START
from tests.cli.command import inside, study


def test_a_record_counts_what_was_skipped_and_the_report_tells_it(llama, tmp_path):
    wild = [{"lora": {"rank": 2, "alpha": 64}}]
    asked = study(tmp_path, llama, methods=wild, precision=["fp32", "fp16_mixed"])
    done = inside("run", asked, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for path in (tmp_path / "runs").rglob("record.json"):
        scaling, spec = (json.loads(path.read_text())[key] for key in ("loss_scaling", "spec"))
        curve = [json.loads(line) for line in path.with_name("curve.jsonl").read_text().splitlines()]
        skipped = sum(line["grad_norm"] is None for line in curve)
        if spec["precision"] == "fp32":
            assert (scaling, skipped) == (None, 0)
        else:
            assert skipped > 0
            assert scaling == {"skipped_updates": skipped, "updates": len(curve), "scale": START / 2**skipped}
            assert f"skipped {skipped} of {len(curve)} updates" in done.stdout
    assert "fp16 on a CPU" in done.stdout
    tables = (tmp_path / "runs" / "small" / "report.md").read_text()
    assert tables.count("| method | precision | seed |") == 3  # quality, cost, predictions
    assert "| lora fp32 | − lora fp16_mixed | Δ " in tables


def test_fp8_is_refused_with_the_reason(llama, tmp_path):
    done = inside("run", study(tmp_path, llama, precision=["bf16", "fp8"]), cwd=tmp_path)
    assert done.returncode == 2
    assert "precision[1]: 'fp8': " in done.stderr
    for word in ("not written yet", "compute capability 8.9", "Write bf16 or bf16_mixed"):
        assert word in done.stderr
    assert not (tmp_path / "runs").exists()
