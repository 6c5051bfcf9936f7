"""What cannot be run is told when the study is read; what a user wrote is understood."""

import sys

import pytest
import torch

from fairtune.errors import SpecError
from fairtune.execute import read_request
from fairtune.methods import METHODS
from fairtune.methods.probe import probe
from fairtune.methods.targets import resolve
from fairtune.report.methods_table import markdown_pages, markdown_table
from tests import tiny
from tests.cli.command import study
from tests.unit.test_house import ROOT


def told(folder, model, **changes):
    with pytest.raises(SpecError) as found:
        read_request(study(folder, model, **changes))
    return str(found.value)


def test_prefix_tuning_with_recomputed_activations_is_refused_with_the_reason(tmp_path, llama):
    text = told(tmp_path, llama, methods=["base", "lora", "prefix"], training={"gradient_checkpointing": True})
    assert "prefix" in text
    assert "key-value cache" in text
    assert "lora" not in text.replace("methods: prefix", "")


def test_a_method_may_switch_it_off_for_itself(tmp_path, llama):
    path = study(
        tmp_path,
        llama,
        methods=["lora", {"prefix": {"gradient_checkpointing": False}}],
        training={"gradient_checkpointing": True},
    )
    assert [spec.training.gradient_checkpointing for spec in read_request(path).specs] == [True, False]


@pytest.mark.parametrize("method", ["qlora", "qdora", {"distill": {"teacher": {"run": "full"}, "student": "qlora"}}])
def test_quantised_bases_are_refused_where_there_are_no_kernels(tmp_path, llama, method):
    text = told(tmp_path, llama, methods=["full", method], budget={"device": "mps"})
    assert "does not run on mps" in text
    assert "budget.device can be cpu, cuda" in text


def test_a_paged_optimizer_needs_a_gpu(tmp_path, llama):
    text = told(tmp_path, llama, training={"optimizer": "paged_adamw_8bit"})
    assert "paged_adamw_8bit is not there on cpu; budget.device can be cuda" in text
    read_request(study(tmp_path, llama, training={"optimizer": "adamw_8bit"}))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"methods": ["adalora"], "parallel": {"strategy": "fsdp", "processes": 2}}, "look at whole matrices"),
        ({"methods": ["qlora"], "parallel": {"strategy": "fsdp", "processes": 2}}, "write `strategy: ddp`"),
        (
            {"training": {"optimizer": "adamw_8bit"}, "parallel": {"strategy": "fsdp", "processes": 2}},
            "optimizer adamw_8bit: its blocks of state cannot be divided",
        ),
        ({"budget": {"device": "cuda:0"}, "parallel": {"processes": 2}}, "processes need a device each"),
        ({"budget": {"device": "mps"}, "parallel": {"processes": 2}}, "it can be auto, cpu, cuda"),
        ({"parallel": {"processes": 2, "nodes": 2}}, "2 nodes need the cluster layer, which is not there yet"),
        ({"parallel": {"processes": 2, "offload": True}}, "write `strategy: fsdp` beside it"),
        ({"parallel": {"processes": 0}}, "parallel.processes"),
    ],
)
def test_what_several_processes_cannot_do_together_is_refused(tmp_path, llama, changes, words):
    assert words in told(tmp_path, llama, **changes)


def test_the_number_of_processes_is_no_part_of_what_a_run_is(tmp_path, llama):
    alone = read_request(study(tmp_path, llama, methods=["base", "qlora", "adalora"])).specs
    several = read_request(
        study(tmp_path, llama, methods=["base", "qlora", "adalora"], parallel={"processes": 2})
    ).specs
    assert [spec.run_id for spec in several] == [spec.run_id for spec in alone]
    assert [spec.ranks for spec in several] == [1, 2, 2]  # what does not train has nothing to share


@pytest.mark.skipif(sys.platform == "darwin", reason="auto may be mps there")
def test_the_usual_device_needs_no_torch_to_be_judged(tmp_path, llama, monkeypatch):
    monkeypatch.setattr("fairtune.models.device.choose_device", lambda asked: pytest.fail("torch was asked"))
    read_request(study(tmp_path, llama, methods=["qlora"], budget={"device": "auto"}))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"type": "lokrr"}, "unknown type 'lokrr'; did you mean 'lokr'?"),
        ({"type": "lokr", "rr": 8}, "'rr' is no key of LoKrConfig; did you mean 'r'?"),
        ({"r": 8}, "peft.type: is required and missing"),
    ],
)
def test_a_method_of_peft_is_checked_by_its_own_configuration(tmp_path, llama, options, words):
    assert words in told(tmp_path, llama, methods=[{"peft": options}])


def test_a_list_is_one_value_for_a_method_of_peft(tmp_path, llama):
    entry = {"peft": {"type": "loha", "r": 4, "target_modules": ["q_proj", "v_proj"], "learning_rate": [1e-3, 1e-2]}}
    specs = read_request(study(tmp_path, llama, methods=[entry])).specs
    assert [spec.training.learning_rate for spec in specs] == [1e-3, 1e-2]
    assert all(spec.method.options["target_modules"] == ["q_proj", "v_proj"] for spec in specs)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"adalora": {"rank": 8, "initial_rank": 4}}, "ranks only shrink"),
        ({"freeze": {"last_layers": 1, "modules": ["mlp"]}}, "not both"),
        ({"ia3": {"targets": ["k_proj"]}}, "give targets and feedforward together"),
        ({"qlora": {"code": "nf5"}}, "did you mean 'nf4'?"),
        ({"lora": {"models": ["nobody"]}}, "no model is called 'nobody'"),
    ],
)
def test_options_that_contradict_each_other_are_told(tmp_path, llama, options, words):
    assert words in told(tmp_path, llama, methods=[options])


def test_a_method_can_be_limited_to_some_models(tmp_path, llama):
    models = [{"source": str(llama), "name": "a"}, {"source": str(llama), "name": "b", "first_layers": 1}]
    entry = {"lora": {"models": "b", "rank": [2, 4]}}
    specs = read_request(study(tmp_path, llama, models=models, methods=["base", entry])).specs
    assert [(spec.model.name, spec.method.label) for spec in specs] == [
        ("a", "base"),
        ("b", "base"),
        ("b", "lora rank=2"),
        ("b", "lora rank=4"),
    ]
    assert len({spec.run_id for spec in specs}) == 4


@pytest.mark.parametrize(
    ("kind", "wanted", "names"),
    [
        ("llama", "attention", ["q_proj", "k_proj", "v_proj", "o_proj"]),
        ("llama", "mlp", ["gate_proj", "up_proj", "down_proj"]),
        ("gpt2", "attention", ["c_attn", "attn.c_proj"]),
        ("gpt2", "mlp", ["c_fc", "mlp.c_proj"]),
        ("gpt2", "all-linear", ["c_attn", "attn.c_proj", "c_fc", "mlp.c_proj"]),
        ("llama", "lm_head", ["lm_head"]),
    ],
)
def test_targets_are_the_shortest_names_that_mean_those_layers(tmp_path, kind, wanted, names):
    network = tiny.language_model(tiny.save_model(tmp_path, kind)).network
    assert resolve(network, wanted) == names


def test_fewer_layers_are_the_first_of_the_model(tmp_path, llama):
    from fairtune.models.load import load_model, load_tokenizer

    def load(count):
        return load_model(llama, load_tokenizer(llama, False), "fp32", torch.device("cpu"), False, 64, None, count)

    whole, half = load(None).network, load(1).network
    tokens = torch.arange(20)[None]
    with torch.no_grad():
        inner = whole.model(input_ids=tokens, output_hidden_states=True).hidden_states[1]
        expected = whole.lm_head(whole.model.norm(inner))
        assert torch.allclose(half(input_ids=tokens).logits, expected, atol=1e-5)
    with pytest.raises(Exception, match="first_layers is 3, and the model has 2 layers"):
        load(3)


def test_a_quantised_base_is_counted_whole_and_weighed_small(tmp_path):
    from fairtune.models.quantize import parameter_count, weight_bytes

    folder = tiny.save_model(tmp_path)
    plain = tiny.language_model(folder).network
    small = tiny.tuned(folder, "qlora", {"rank": 1}).model.network.get_base_model()
    linear = [p for name, p in plain.named_parameters() if name.endswith("proj.weight")]
    count = sum(parameter_count(p) for name, p in small.named_parameters() if "lora_" not in name)
    assert count == sum(p.numel() for p in plain.parameters())
    saved = (
        weight_bytes(plain.parameters())
        - weight_bytes(small.parameters())
        + sum(p.numel() * 4 for name, p in small.named_parameters() if "lora_" in name)
    )
    # Four bits for 32, and scales; layers as small as these have tables nearly as large as themselves.
    assert 0.6 < saved / sum(p.numel() * 4 for p in linear) < 7 / 8


def test_a_method_that_does_not_run_says_why():
    import dataclasses

    def broken(model, options, course):
        raise RuntimeError("no kernel for this\nand more")

    cpu = torch.device("cpu")
    assert probe(METHODS["lora"], cpu, "fp32") is None
    assert probe(dataclasses.replace(METHODS["lora"], attach=broken), cpu, "fp32") == "RuntimeError: no kernel for this"
    frozen = dataclasses.replace(METHODS["full"], attach=METHODS["base"].attach)
    assert probe(frozen, cpu, "fp32") is not None


def test_readme_and_documentation_list_the_methods_of_the_table():
    assert markdown_table() in (ROOT / "README.md").read_text(encoding="utf-8")
    page = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    assert markdown_table() in page
    assert markdown_pages() in page


def test_methods_that_differ_never_share_a_label(tmp_path, llama):
    teacher = {"run": "full"}
    students = ["bitfit", {"lora": {"rank": 2}}, {"lora": {"rank": 4}}, {"lora": {"rank": 2, "bias": "all"}}]
    methods = ["full", {"distill": {"teacher": teacher, "student": students}}]
    specs = read_request(study(tmp_path, llama, methods=methods)).specs
    labels = [spec.method.label for spec in specs]
    assert len(set(labels)) == len(specs) == 5
    assert "distill student=bitfit" in labels
    assert "distill student=lora(rank=2)" in labels
    same = [{"lora": {"targets": "q_proj"}}, {"lora": {"targets": ["q_proj"]}}]
    assert len(read_request(study(tmp_path, llama, methods=same)).specs) == 1


def test_an_option_at_its_default_is_no_part_of_an_id(tmp_path, llama):
    written = [{"lora": {}}, {"lora": {"rank": 16, "bias": "none"}}]
    (spec,) = read_request(study(tmp_path, llama, methods=written)).specs
    assert spec.method.options["rank"] == 16
    assert spec.method.chosen == {}


def test_groups_and_names_of_layers_can_be_mixed(llama):
    network = tiny.language_model(llama).network
    assert resolve(network, ["attention", "down_proj"]) == ["q_proj", "k_proj", "v_proj", "o_proj", "down_proj"]
    with pytest.raises(SpecError, match="no linear layer 'embed_tokens'"):
        resolve(network, ["embed_tokens"])


def test_a_quantised_base_of_a_model_from_scratch_is_refused(tmp_path, llama):
    shape = {"architecture": "llama", "layers": 1, "heads": 2, "hidden": 64, "context": 64}
    text = told(tmp_path, llama, models=[{"scratch": shape}], methods=["qlora"])
    assert "no weights to quantise" in text


def test_more_singular_directions_than_a_layer_has_are_refused(llama):
    with pytest.raises(SpecError, match="16 directions"):
        tiny.tuned(llama, "lora", {"init": "pissa", "rank": 20, "targets": ["k_proj"]})


def test_an_adapter_on_a_tied_layer_is_scored_unmerged(tmp_path):
    from fairtune.models.likelihood import item_losses
    from tests.parity.test_methods import scrambled

    tuned = tiny.tuned(tiny.save_model(tmp_path, "gpt2", chat=False), "lora", {"targets": ["lm_head"], "rank": 2})
    scrambled(tuned, "lora_")
    items = tiny.encoded(4)
    before = item_losses(tuned.model, items)
    assert not tuned.mergeable
    with tuned.scoring():
        assert item_losses(tuned.model, items) == before
    free = tiny.tuned(tmp_path, "lora", {"targets": "mlp", "rank": 2})
    assert free.mergeable


@pytest.mark.parametrize("kind", ["prompt_tuning", "p_tuning", "prefix_tuning"])
def test_virtual_tokens_of_any_kind_are_restored_as_such(llama, tmp_path, kind):
    from fairtune.evaluate.generation import generate

    options = {"type": kind, "num_virtual_tokens": 3}
    tuned = tiny.tuned(llama, "peft", options)
    tuned.save(tmp_path)
    again = METHODS["peft"].restore(tiny.language_model(llama), options, tmp_path)
    assert again.model.virtual_tokens == tuned.model.virtual_tokens == 3
    items = tiny.encoded(5)
    assert generate(again.model, items, 6) == generate(tuned.model, items, 6)


def test_the_schema_takes_what_the_documentation_writes(tmp_path, llama):
    import jsonschema

    from fairtune.execute import vocabulary
    from fairtune.study import study_schema

    schema = study_schema(vocabulary())
    jsonschema.Draft202012Validator.check_schema(schema)  # once; jsonschema.validate would do it for every study
    editor = jsonschema.Draft202012Validator(schema)
    plain = {"name": "a", "task": "cldr-spanish", "models": ["x"]}
    for good in (
        {"distill": {"teacher": "x"}},
        {"distill": {"teacher": {"run": "full"}, "student": "lora", "models": "half"}},
        {"distill": {"teacher": "x", "student": {"lora": {"rank": 2}}, "top_k": [10, "all"]}},
        {"peft": {"type": "loha", "r": 8}},
        {"qlora": {"code": "nf4", "models": ["x"]}},
        "adapter",
    ):
        editor.validate({**plain, "methods": [good]})
    for bad in ({"distill": {}}, {"peft": {}}, "distill", {"lora": {"rank": []}}, {"lora": {"rnak": 8}}):
        with pytest.raises(jsonschema.ValidationError):
            editor.validate({**plain, "methods": [bad]})
