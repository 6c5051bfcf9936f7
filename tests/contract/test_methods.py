"""One contract, every method, three architectures: CPU, fp32."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from fairtune.errors import SpecError
from fairtune.evaluate.generation import generate
from fairtune.methods import METHODS
from fairtune.models.likelihood import item_losses
from fairtune.models.rows import Batching
from fairtune.train.loop import train
from tests import tiny
from tests.contract.cases import CASES, OWN, RECIPE, SMALL, TRAINED, Case, each, logits, namespace, trained, tuned

EXACT = 1e-5  # fp32, sums in another order
MERGED = 5e-4  # of logits of size 10 to 40: a sum of weights in place of a sum of products
OWN_LAYOUT = {"adapter"}  # PEFT has no such method


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    return {
        kind: tiny.save_model(tmp_path_factory.mktemp(kind), kind, chat=kind != "gpt2")
        for kind in ("llama", "gpt2", "gemma3")
    }


@dataclass(frozen=True)
class Student:
    """A method that has trained for a few updates: what it was before and after."""

    case: Case
    tuned: Any
    losses: list[float]
    declared: set[str]
    before: dict[str, str]
    after: dict[str, str]
    saved: Path

    @property
    def method(self) -> Any:
        return METHODS[self.case.method]

    @property
    def tolerance(self) -> float:
        """A base that was split into adapter and rest is not split the same way when it is loaded."""
        return MERGED if "init" in self.case.options else EXACT


@pytest.fixture(scope="session", params=TRAINED, ids=lambda case: case.id)
def student(request, folders, tmp_path_factory):
    """Trained once for all tests that look at it; those that change it come last, and put it back."""
    start = tuned(request.param, folders)
    declared = {name for name, weight in start.model.network.named_parameters() if weight.requires_grad}
    folder = tmp_path_factory.mktemp("student")
    made, losses = trained(request.param, folders, folder)
    made.save(folder / "saved")
    before, after = bits(start.model.network), bits(made.model.network)
    return Student(request.param, made, losses, declared, before, after, folder / "saved")


def bits(network) -> dict[str, str]:
    return {name: digest(weight) for name, weight in network.named_parameters()}


def digest(weight) -> str:
    return hashlib.sha256(weight.detach().contiguous().view(torch.uint8).numpy().tobytes()).hexdigest()


@each([case for case in CASES if not METHODS[case.method].starts_elsewhere])
def test_the_first_outputs_are_the_base_models(case, folders):
    base = logits(tiny.language_model(folders[case.kind]))
    moves_base = "init" in case.options  # the base is split into adapter and rest, and added up again
    assert torch.allclose(logits(tuned(case, folders).model), base, atol=MERGED if moves_base else 0, rtol=0)


@each([case for case in CASES if METHODS[case.method].starts_elsewhere and case.method != "peft"])
def test_a_method_that_starts_elsewhere_does(case, folders):
    assert not torch.allclose(logits(tuned(case, folders).model), logits(tiny.language_model(folders[case.kind])))


def test_only_what_is_declared_moves_and_something_does(student):
    moved = {name for name in student.before if student.before[name] != student.after[name]}
    assert student.before.keys() == student.after.keys()
    assert moved <= student.declared
    assert len(moved) >= len(student.declared) // 2


def test_what_is_saved_gives_the_same_outputs(student, folders):
    assert not [file for file in student.saved.iterdir() if file.suffix in (".bin", ".pt", ".pth")]
    whole = student.method.artifact == "model"
    fresh = tiny.language_model(student.saved) if whole else fresh_base(student, folders)
    again = student.method.restore(fresh, student.case.options, student.saved)
    assert torch.allclose(logits(again.model), logits(student.tuned.model), atol=student.tolerance)
    items = tiny.encoded(3)
    assert generate(again.model, items, 5) == generate(student.tuned.model, items, 5)


def fresh_base(student, folders):
    quantization = student.method.quantization(student.case.options, "fp32")
    return tiny.language_model(folders[student.case.kind], quantization=quantization)


def test_plain_peft_or_transformers_loads_what_is_saved(student, folders):
    if student.case.method in OWN_LAYOUT:
        assert json.loads((student.saved / "adapter_config.json").read_text())["layout"] == "fairtune-bottleneck"
        return
    if student.method.artifact == "model":
        network, info = AutoModelForCausalLM.from_pretrained(student.saved, output_loading_info=True)
        assert not info["missing_keys"] | info["unexpected_keys"]
    else:
        assert load_file(student.saved / "adapter_model.safetensors")
        network = PeftModel.from_pretrained(fresh_base(student, folders).network, str(student.saved))
    with torch.no_grad():
        theirs = network.eval()(input_ids=torch.tensor([tiny.encoded(1)[0].tokens])).logits[:, -10:]
    # Plain transformers may take another kernel for attention.
    tolerance = MERGED if student.method.artifact == "model" else student.tolerance
    assert torch.allclose(theirs, logits(student.tuned.model), atol=tolerance)


def test_an_answer_does_not_depend_on_its_batch(student):
    if student.case.options.get("code") == "int8":
        pytest.skip("LLM.int8() keeps outlier columns of a batch apart")
    items = tiny.encoded(5)
    assert generate(student.tuned.model, items, 6) == [generate(student.tuned.model, [i], 6)[0] for i in items]


def test_neither_the_cut_into_micro_batches_nor_recomputing_changes_anything(student, folders, tmp_path):
    if student.case.options.get("code") == "int8":
        pytest.skip("LLM.int8() keeps outlier columns of a batch apart")
    recipe = RECIPE.model_copy(update={"gradient_checkpointing": not student.method.no_checkpointing})
    made, cut = trained(student.case, folders, tmp_path, recipe, Batching(1, packed=False, fused=False))
    assert cut == pytest.approx(student.losses, rel=1e-4)
    assert not any(getattr(module, "gradient_checkpointing", False) for module in made.model.network.modules())


def test_merged_is_unmerged_and_twice_is_once(student):
    tuned, network = student.tuned, student.tuned.model.network
    plain = logits(tuned.model)
    with tuned.scoring():
        assert torch.allclose(logits(tuned.model), plain, atol=MERGED)
    if not tuned.mergeable:
        return
    bits_before = bits(network)
    weights = {name: weight.detach().clone() for name, weight in network.named_parameters()}
    tuned.merge()
    once = bits(network)
    assert once != bits_before
    tuned.merge()
    assert bits(network) == once
    tuned.unmerge()
    tuned.unmerge()
    for name, weight in network.named_parameters():
        assert torch.allclose(weight, weights[name], atol=2e-6), name
    assert torch.allclose(logits(tuned.model), plain, atol=MERGED)


@each([case for case in CASES if case.method != "peft"])
def test_the_formula_counts_what_is_trained(case, folders):
    network = tuned(case, folders).model.network
    count = sum(weight.numel() for weight in network.parameters() if weight.requires_grad)
    assert count == eval(METHODS[case.method].formula, namespace(case, folders))  # noqa: S307 - our own text


@each([case for case in CASES if case.kind == "llama"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_it_runs_in_the_precisions_it_declares(case, folders, tmp_path, precision):
    assert precision in METHODS[case.method].precisions
    if not METHODS[case.method].trains:
        return
    made, losses = trained(case, folders, tmp_path, precision=precision)
    kinds = {weight.dtype for weight in made.model.network.parameters() if weight.requires_grad}
    if case.options.get("type") != "ln_tuning":  # copies of the base's own weights, with fp32 masters in training
        whole = METHODS[case.method].artifact == "model"
        assert kinds == {torch.bfloat16 if whole and precision == "bf16" else torch.float32}
    assert len(set(losses)) == len(losses) == 3
    made.save(tmp_path / "saved")
    quantization = METHODS[case.method].quantization(case.options, precision)
    base = tmp_path / "saved" if METHODS[case.method].artifact == "model" else folders[case.kind]
    fresh = tiny.language_model(base, precision, quantization=quantization)
    again = METHODS[case.method].restore(fresh, case.options, tmp_path / "saved")
    found, expected = ([item.loss for item in item_losses(t.model, tiny.encoded(4))] for t in (again, made))
    # Split bases (PiSSA, OLoRA) and cut ranks (AdaLoRA) are other sums: in bf16 they round otherwise.
    assert found == pytest.approx(expected, rel=1e-4 if precision == "fp32" else 0.02)


@each([Case(name, "llama", SMALL.get(name, [{}])[0]) for name in OWN if METHODS[name].trains])
@pytest.mark.parametrize("precision", ["bf16_mixed", "fp16_mixed"])
def test_mixed_precisions_keep_everything_but_codes_in_fp32_and_move_it(case, folders, tmp_path, precision):
    assert precision in METHODS[case.method].precisions
    made = tuned(case, folders, precision=precision)
    weights = dict(made.model.network.named_parameters())
    assert {weight.dtype for weight in weights.values()} <= {torch.float32, torch.uint8}
    before = {name: weight.detach().clone() for name, weight in weights.items() if weight.requires_grad}
    short = RECIPE.model_copy(update={"batch_size": 2, "keep": "last"})  # the first of them may find the scale of fp16
    train(made, tiny.encoded(6), tiny.encoded(1, seed=9), short, 0, tmp_path / "best", lambda update: None)
    assert any(not torch.equal(weights[name], old) for name, old in before.items())


def test_what_is_written_of_a_method_is_complete():
    for name, method in METHODS.items():
        assert method.name == name
        assert method.summary
        assert method.paper or name in {"base", "full", "peft"}
        assert (method.learning_rate_reason is None) == (not method.trains)
        assert (method.learning_rate is None) == (not method.trains or method.inner is not None)
        assert set(method.devices) == {"cpu", "cuda", "mps"} or method.device_reason


@each(
    [
        Case("lora", "gpt2", {"init": "olora"}),
        Case("lora", "llama", {"targets": ["q_porj"]}),
        Case("freeze", "llama", {"last_layers": 3}),
        Case("freeze", "llama", {"modules": ["mpl"]}),
        Case("peft", "gpt2", {"type": "lokr", "target_modules": "all-linear"}),
    ]
)
def test_options_that_do_not_suit_the_model_are_told(case, folders):
    with pytest.raises(SpecError, match=r"(olora|no linear layer 'q_porj'.*q_proj|2 layers|'mpl'.*mlp|Conv1D)"):
        tuned(case, folders)
