"""Exports of a small study, through the real command line."""

import json
import os
import shutil
import signal
import subprocess
import time

import pytest
import torch

from tests import tiny
from tests.cli.command import FAIRTUNE, fairtune, inside, records, study


@pytest.fixture(scope="module")
def finished(tmp_path_factory, llama):
    """A study that has run: base, full and LoRA, strongly trained."""
    folder = tmp_path_factory.mktemp("finished")
    strong = ["base", {"full": {"learning_rate": 1e-2}}, {"lora": {"rank": 2, "learning_rate": 5e-2}}]
    result = inside("run", study(folder, llama, methods=strong), cwd=folder)
    assert result.returncode == 0, result.stderr
    return folder


def run_of(folder, method):
    return records(folder)[f"{method} 0"]["run_id"]


def exported(folder, method, form, *more):
    """The parity of a new export, and its folder."""
    result = inside("export", run_of(folder, method), "--to", form, "--force", "--json", *more, cwd=folder)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def at(folder, method, name):
    return folder / "runs" / "small" / run_of(folder, method) / "export" / name


def copied(folder, method, target):
    """A run's folder, without exports, for tests that damage it."""
    source = folder / "runs" / "small" / run_of(folder, method)
    return shutil.copytree(source, target, ignore=shutil.ignore_patterns("export"))


def test_a_merged_export_is_the_run_to_rounding_and_says_so(finished):
    parity = exported(finished, "lora", "merged")
    assert parity == json.loads((at(finished, "lora", "merged") / "parity.json").read_text())
    assert (parity["version"], parity["form"], parity["type"], parity["items"]) == (1, "merged", None, 5)
    assert parity["logits"]["positions"] == parity["logits"]["of"] == parity["loss"]["tokens"]
    assert parity["logits"]["largest"] < 1e-3
    assert abs(parity["loss"]["difference"]) < 1e-4
    assert parity["answers"] == {"changed": 0, "of": 5, "changes": [], "reason": None}
    assert parity["answers_as_recorded"] == 5
    assert parity["items_tokenised_otherwise"] == 0
    assert set(parity["files"]) >= {"config.json", "model.safetensors", "tokenizer.json"}
    assert not list(at(finished, "lora", "merged").parent.glob(".*"))


def test_a_merged_export_holds_base_plus_product(finished, llama):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    exported(finished, "lora", "merged")
    found = AutoModelForCausalLM.from_pretrained(at(finished, "lora", "merged")).state_dict()
    base = AutoModelForCausalLM.from_pretrained(llama)
    adapted = PeftModel.from_pretrained(base, finished / "runs" / "small" / run_of(finished, "lora") / "adapter")
    layer = adapted.base_model.model.model.layers[0].mlp.up_proj
    product = layer.lora_B["default"].weight @ layer.lora_A["default"].weight * layer.scaling["default"]
    assert product.abs().max() > 1e-3
    name = "model.layers.0.mlp.up_proj.weight"
    assert torch.allclose(found[name], layer.base_layer.weight + product, atol=1e-6)


def test_an_exported_adapter_names_its_base_as_the_study_does(finished, llama):
    parity = exported(finished, "lora", "adapter")
    folder = at(finished, "lora", "adapter")
    assert json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"] == str(llama)
    assert f"from_pretrained('{llama}')" in (folder / "README.md").read_text()
    assert parity["answers"]["changed"] == 0
    assert parity["logits"]["largest"] < 1e-3
    from peft import AutoPeftModelForCausalLM

    AutoPeftModelForCausalLM.from_pretrained(folder)


@pytest.mark.parametrize(
    ("method", "kind", "bound"), [("base", "f16", 0.05), ("lora", "f16", 0.05), ("full", "q8_0", 1.0)]
)
def test_a_gguf_export_is_near_the_run_and_how_near_is_stored(finished, method, kind, bound):
    parity = exported(finished, method, "gguf", "--type", kind)
    assert parity["type"] == kind
    assert 0 < parity["logits"]["largest"] < bound
    assert parity["items_tokenised_otherwise"] == 0
    assert parity["llama_cpp"]["answers"] or parity["llama_cpp"]["reason"]
    (file,) = parity["files"]
    assert (at(finished, method, f"gguf-{kind}") / file).stat().st_size == parity["files"][file]


def test_an_exported_file_is_a_model_for_the_next_study(finished, tmp_path):
    exported(finished, "full", "gguf")
    file = next(at(finished, "full", "gguf-f16").glob("*.gguf"))
    result = inside("run", study(tmp_path, file, methods=["base"]), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    before, after = records(finished)["full 0"]["metrics"], records(tmp_path)["base 0"]["metrics"]
    assert after["perplexity"]["value"] == pytest.approx(before["perplexity"]["value"], rel=0.01)


def test_a_bf16_run_is_merged_in_fp32_and_cast_once(tmp_path, llama):
    strong = [{"lora": {"rank": 2, "learning_rate": 5e-2}}]
    assert inside("run", study(tmp_path, llama, methods=strong, precision="bf16"), cwd=tmp_path).returncode == 0
    parity = exported(tmp_path, "lora", "merged")
    assert parity["computed"] == ["bf16", "bf16"]
    from safetensors.torch import load_file

    assert {w.dtype for w in load_file(at(tmp_path, "lora", "merged") / "model.safetensors").values()} == {
        torch.bfloat16
    }


def test_people_are_told_in_sentences(finished):
    result = inside("export", run_of(finished, "lora")[:6], "--to", "merged", "--force", cwd=finished)
    assert "answers changed                0 of 5" in result.stdout
    assert "largest difference of a logit" in result.stdout
    assert "scoring the run on its 5 test items" in result.stderr


def test_what_cannot_be_exported_is_refused_with_its_reason(finished, tmp_path):
    run = run_of(finished, "lora")
    refused = [
        ((run, "--to", "onnx"), "--to onnx: unknown; allowed: adapter, gguf, merged"),
        ((run, "--to", "gguf", "--type", "q4"), "--type q4: not a number format of 'gguf'"),
        ((run, "--to", "merged", "--type", "f16"), "--type f16: not a number format of 'merged'"),
        ((run_of(finished, "base"), "--to", "adapter"), "has no adapter: its model is whole"),
        (("nothing", "--to", "merged"), "neither a run folder nor the beginning of a run id in runs"),
        (("", "--to", "merged"), "stands for 3 runs"),
        ((run, "--to", "merged", "--output", str(tmp_path), "--force"), "is no export (it has no parity.json)"),
        ((run, "--to", "merged", "--output", str(tmp_path)), "exists; choose another folder with --output"),
    ]
    for arguments, words in refused:
        result = inside("export", *arguments, cwd=finished)
        assert result.returncode == 2
        assert words in result.stderr, result.stderr
        assert "Traceback" not in result.stderr


def test_a_run_that_failed_or_lost_its_files_is_refused(finished, tmp_path):
    folder = copied(finished, "lora", tmp_path / "run")
    shutil.rmtree(folder / "adapter")
    result = inside("export", folder, "--to", "merged", cwd=tmp_path)
    assert result.returncode == 2
    assert "what it trained (adapter/) is gone" in result.stderr
    record = json.loads((folder / "record.json").read_text())
    record.update(status="diverged", error={"phase": "train", "kind": "DivergedError", "message": "loss is nan"})
    (folder / "record.json").write_text(json.dumps(record))
    result = inside("export", folder, "--to", "merged", cwd=tmp_path)
    assert result.returncode == 2
    assert "ended as 'diverged': loss is nan" in result.stderr


def test_an_adapter_that_is_no_change_of_weights_is_not_merged(finished, tmp_path):
    folder = copied(finished, "lora", tmp_path / "run")
    described = {"peft_type": "PROMPT_TUNING", "task_type": "CAUSAL_LM", "num_virtual_tokens": 2}
    (folder / "adapter" / "adapter_config.json").write_text(json.dumps(described))
    for form in ("merged", "gguf"):
        result = inside("export", folder, "--to", form, cwd=tmp_path)
        assert result.returncode == 2
        assert "no change of weights (PROMPT_TUNING), so it cannot be merged" in result.stderr
        assert not (folder / "export" / form).exists()


def test_data_that_changed_since_the_run_are_refused(tmp_path, llama):
    inside("run", study(tmp_path, llama, methods=["base"]), cwd=tmp_path)
    tiny.write_jsonl(tmp_path / "rows.jsonl", tiny.rows(25))
    result = inside("export", run_of(tmp_path, "base"), "--to", "merged", cwd=tmp_path)
    assert result.returncode == 2
    assert "its data changed since the run" in result.stderr


def test_a_killed_export_leaves_nothing_where_the_export_would_be(finished):
    target = at(finished, "full", "cut")
    command = [*FAIRTUNE, "export", run_of(finished, "full"), "--to", "merged", "--output", str(target)]
    process = subprocess.Popen(command, cwd=finished, env=os.environ, stderr=subprocess.PIPE)
    for line in process.stderr:
        if line.startswith(b"scoring"):
            break
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not target.exists()
    started = time.monotonic()
    assert fairtune(*command[len(FAIRTUNE) :], cwd=finished).returncode == 0
    assert time.monotonic() - started < 200
    assert (target / "parity.json").exists()
    assert not list(target.parent.glob(f".{target.name}*"))
