"""What must not matter in training does not, and what must not move does not."""

import hashlib

import pytest
import torch

import fairtune.models.cross_entropy
import fairtune.models.packing
from fairtune.errors import DivergedError
from fairtune.methods import Tuned
from fairtune.models.rows import Batching
from fairtune.study import Training
from fairtune.train.loop import mean_loss, train
from tests import tiny

RECIPE = Training(epochs=2, batch_size=6, learning_rate=5e-3)


def run(folder, method="full", recipe=RECIPE, seed=0, scratch=None, precision="fp32", options=None, batching=None):
    """Trains a tiny model; losses, and the model."""
    tuned = tiny.tuned(folder, method, options, seed, precision)
    model = tuned.model
    model.batching = batching or model.batching
    curve = []
    result = train(tuned, tiny.encoded(16), tiny.encoded(5, seed=9), recipe, seed, scratch, curve.append)
    return [update.loss for update in curve], model, result


def bits(network) -> dict[str, str]:
    return {
        name: hashlib.sha256(weight.detach().contiguous().view(torch.uint8).numpy().tobytes()).hexdigest()
        for name, weight in network.state_dict().items()
    }


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_same_seed_gives_the_same_bits(llama, tmp_path, method, precision):
    first, one, _ = run(llama, method, scratch=tmp_path / "a", precision=precision)
    second, two, _ = run(llama, method, scratch=tmp_path / "b", precision=precision)
    assert first == second
    assert bits(one.network) == bits(two.network)


WAYS = {
    "one text at a time": Batching(budget=1, packed=True),
    "a few at a time": Batching(budget=150, packed=True),
    "all at once": Batching(budget=100_000, packed=True),
    "nothing shared": Batching(packed=True, share=False),
    "padded": Batching(packed=False),
    "padded, one at a time": Batching(budget=1, packed=False),
    "all logits at once": Batching(packed=True, fused=False),
    "padded, all logits at once": Batching(budget=100_000, packed=False, fused=False),
}
PACKED = Batching(packed=True)


TWENTY = RECIPE.model_copy(update={"epochs": None, "updates": 20, "batch_size": 5})


def drift(usual, other):
    """Largest relative difference of two curves."""
    return max(abs(one - two) / one for one, two in zip(usual, other, strict=True))


@pytest.mark.parametrize("method", ["full", "lora"])
def test_how_an_update_is_cut_and_laid_out_does_not_matter(llama, method, tmp_path):
    usual = run(llama, method, TWENTY, scratch=tmp_path / "a", batching=PACKED)[0]
    for name, way in WAYS.items():
        assert drift(usual, run(llama, method, TWENTY, scratch=tmp_path / "a", batching=way)[0]) < 1e-5, name


@pytest.mark.parametrize("kind", ["llama", "gemma3"])
def test_tiles_chunks_and_recomputing_do_not_matter(kind, request, tmp_path, monkeypatch):
    """Small ones, so that every text has several tiles, the shared beginning too, and every update several chunks."""
    folder = request.getfixturevalue(kind)
    usual = run(folder, "full", TWENTY, scratch=tmp_path / "a", batching=Batching(packed=False, fused=False))[0]
    monkeypatch.setattr(fairtune.models.packing, "_TILE", 7)
    monkeypatch.setattr(fairtune.models.cross_entropy, "_TRAINED_ROWS", 3)
    small = run(folder, "full", TWENTY, scratch=tmp_path / "a", batching=PACKED)[0]
    again = TWENTY.model_copy(update={"gradient_checkpointing": True})
    recomputed = run(folder, "full", again, scratch=tmp_path / "a", batching=PACKED)[0]
    assert drift(usual, small) < 1e-5
    assert drift(usual, recomputed) < 1e-5


@pytest.mark.parametrize("trained", [True, False])
def test_output_layer_and_loss_in_one_are_both_in_turn_and_so_are_the_gradients(trained, monkeypatch):
    monkeypatch.setattr(fairtune.models.cross_entropy, "_ROWS", 3)
    monkeypatch.setattr(fairtune.models.cross_entropy, "_TRAINED_ROWS", 4)
    draw = torch.Generator().manual_seed(0)
    layer = torch.nn.Linear(8, 30).double().requires_grad_(trained)
    answers = torch.randint(0, 30, (10,), generator=draw)
    weights = torch.rand(10, generator=draw)
    found = []
    for together in (True, False):
        hidden = torch.randn(10, 8, generator=torch.Generator().manual_seed(1), dtype=torch.double).requires_grad_()
        losses = (
            fairtune.models.cross_entropy.linear_cross_entropy(hidden, layer, answers)
            if together
            else torch.nn.functional.cross_entropy(layer(hidden), answers, reduction="none")
        )
        (losses * weights).sum().backward()
        gradients = [part.grad.clone() for part in layer.parameters()] if trained else []
        layer.zero_grad()
        found.append([losses.double(), hidden.grad, *gradients])
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_the_budget_holds_and_what_is_counted_is_what_the_network_sees(llama, tmp_path):
    for dropout in (0.0, 0.1):
        tuned = tiny.tuned(llama, "lora", {"dropout": dropout})
        tuned.model.batching = Batching(budget=120, packed=True)
        seen = []
        embeddings = tuned.model.network.get_input_embeddings()
        embeddings.register_forward_pre_hook(
            lambda layer, inputs, seen=seen: seen.append(inputs[0].numel()) if layer.training else None
        )
        result = train(tuned, tiny.encoded(16), tiny.encoded(5), RECIPE, 0, tmp_path / "best", lambda update: None)
        assert tuned.model.drops == bool(dropout)
        assert max(seen) <= 120
        looked = 0 if dropout else 2  # passes over two short texts, to see whether anything is dropped
        assert sum(seen[looked:]) == result.computed
        assert (result.computed < result.tokens - 100) != bool(dropout)


def test_every_method_sees_the_same_examples_in_the_same_order(llama, tmp_path, monkeypatch):
    seen: dict[str, list[str]] = {}
    plain = Tuned.cross_entropy
    for method in ("full", "lora"):
        ids = seen[method] = []
        monkeypatch.setattr(
            Tuned,
            "cross_entropy",
            lambda tuned, batch, ids=ids: ids.extend(item.id for item in batch) or plain(tuned, batch),
        )
        run(llama, method, scratch=tmp_path / "a")
    assert seen["full"] == seen["lora"]
    assert len(seen["full"]) == 32


def test_another_seed_is_another_order(llama, tmp_path):
    assert run(llama, seed=0, scratch=tmp_path / "a")[0] != run(llama, seed=1, scratch=tmp_path / "a")[0]


def test_only_what_a_method_declares_moves(llama, tmp_path):
    untouched = tiny.language_model(llama)
    before = bits(untouched.network)
    _, model, _ = run(llama, "lora", scratch=tmp_path / "a", options={"targets": ["q_proj"]})
    after = bits(model.network)
    for name, digest in before.items():
        held = f"base_model.model.{name}"
        held = held if held in after else held.replace("q_proj.", "q_proj.base_layer.")
        assert after[held] == digest, name
    moved = [name for name in after if "lora_B" in name]
    assert len(moved) == 2
    assert all(model.network.state_dict()[name].abs().sum() > 0 for name in moved)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_the_first_outputs_are_the_untouched_models(llama, method):
    untouched, model = tiny.language_model(llama), tiny.tuned(llama, method).model
    items = tiny.encoded(6)
    assert mean_loss(model, items) == mean_loss(untouched, items)


def test_training_learns(llama, tmp_path):
    losses, model, result = run(llama, recipe=RECIPE.model_copy(update={"epochs": 12}), scratch=tmp_path / "a")
    assert losses[-1] < 0.5 * losses[0]
    assert min(result.validation_losses) == mean_loss(model, tiny.encoded(5, seed=9))


def test_the_best_epoch_is_kept_not_the_last(llama, tmp_path):
    recipe = RECIPE.model_copy(update={"epochs": 6, "learning_rate": 3e-2, "schedule": "constant"})
    _, model, result = run(llama, recipe=recipe, scratch=tmp_path / "best")
    worst = max(result.validation_losses)
    assert result.best_epoch == result.validation_losses.index(min(result.validation_losses)) + 1
    assert mean_loss(model, tiny.encoded(5, seed=9)) == pytest.approx(min(result.validation_losses), rel=1e-6)
    assert worst > min(result.validation_losses)
    assert not (tmp_path / "best").exists()
    _, last, chosen = run(llama, recipe=recipe.model_copy(update={"keep": "last"}), scratch=tmp_path / "best")
    assert chosen.best_epoch is None
    assert mean_loss(last, tiny.encoded(5, seed=9)) == pytest.approx(chosen.validation_losses[-1], rel=1e-6)


def test_a_loss_that_is_not_finite_stops_at_once_and_names_the_update(llama, tmp_path):
    tuned = tiny.tuned(llama, "full")
    model = tuned.model
    with torch.no_grad():
        model.network.get_input_embeddings().weight[:] = float("nan")
    weights = bits(model.network)
    with pytest.raises(DivergedError, match=r"update 1 of 6, learning rate 0\.00\d+: the loss is nan"):
        train(tuned, tiny.encoded(16), tiny.encoded(5), RECIPE, 0, tmp_path / "a", lambda update: None)
    assert bits(model.network) == weights


def test_adapters_are_fp32_over_a_bf16_base(llama, tmp_path):
    _, model, _ = run(llama, "lora", scratch=tmp_path / "a", precision="bf16")
    kinds = {weight.dtype for name, weight in model.network.named_parameters() if weight.requires_grad}
    assert kinds == {torch.float32}
    assert {weight.dtype for weight in model.network.parameters() if not weight.requires_grad} == {torch.bfloat16}


def test_recomputing_activations_runs_the_inner_layers_twice(llama, tmp_path):
    calls = {}
    for wanted in (False, True):
        tuned = tiny.tuned(llama, "lora", {"rank": 2})
        seen = calls[wanted] = []
        layer = tuned.model.network.get_base_model().model.layers[0].mlp
        layer.register_forward_pre_hook(lambda module, inputs, seen=seen: seen.append(torch.is_grad_enabled()))
        recipe = RECIPE.model_copy(update={"gradient_checkpointing": wanted})
        train(tuned, tiny.encoded(16), tiny.encoded(5), recipe, 0, tmp_path / "best", lambda update: None)
    assert sum(calls[True]) == 2 * sum(calls[False])  # in training; validation keeps nothing to recompute
    assert calls[True].count(False) == calls[False].count(False)
