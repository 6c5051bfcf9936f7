"""What another number format changes in training, and what it must not."""

import json
import random

import pytest
import torch

import fairtune.train.scaling
from fairtune.errors import DivergedError
from fairtune.execute.curve import curve_writer
from fairtune.execute.progress import ProgressFile
from fairtune.records import RunFolder
from fairtune.study import Training
from fairtune.train.loop import UpdateReport, train
from fairtune.train.scaling import START, Scaling
from tests import tiny

RECIPE = Training(epochs=2, batch_size=6, learning_rate=2e-3, schedule="constant", warmup=0, keep="last")
METHODS = ["full", "lora", "adalora"]  # the last has a penalty, which must be scaled as the loss is
# Half a unit in the last place: what rounding one number costs at most, relative to it.
HALF_ULP = {"bf16_mixed": 2**-9, "fp16_mixed": 2**-12}


def run(folder, scratch, precision, method="full", recipe=RECIPE, options=None):
    """Trains a tiny model; its network, the curve, and the result."""
    tuned = tiny.tuned(folder, method, options, 0, precision)
    curve = []
    result = train(tuned, tiny.encoded(16), tiny.encoded(3, seed=9), recipe, 0, scratch / "best", curve.append)
    return tuned.model.network, curve, result


@pytest.fixture(scope="module")
def exact(llama, tmp_path_factory):
    return {method: run(llama, tmp_path_factory.mktemp("exact"), "fp32", method)[1] for method in METHODS}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("precision", HALF_ULP)
def test_losses_and_norms_are_those_of_fp32_within_the_format(llama, tmp_path, exact, precision, method):
    _, curve, result = run(llama, tmp_path, precision, method)
    assert [u.loss for u in curve] == pytest.approx([u.loss for u in exact[method]], rel=HALF_ULP[precision])
    # Norms are told as they are without the scale, and errors of a backward pass add up.
    found, true = [u.grad_norm for u in curve], [u.grad_norm for u in exact[method]]
    assert found == pytest.approx(true, rel=8 * HALF_ULP[precision])
    assert found != true
    assert (result.scaling.scale, result.scaling.skipped) == (START if precision == "fp16_mixed" else None, 0)


def test_small_updates_survive_in_fp32_weights_and_not_in_bf16(llama, tmp_path):
    small = RECIPE.model_copy(update={"learning_rate": 1e-6, "epochs": 1})
    for precision, expected in (("bf16_mixed", False), ("bf16", True)):
        network, _, _ = run(llama, tmp_path, precision, recipe=small)
        scales = [weight for name, weight in network.named_parameters() if "norm" in name]  # all begin at one
        assert scales
        # In bf16 the optimizer's copies move too; what computes, and is saved, is their rounding.
        assert {bool((weight == 1).all()) for weight in scales} == {expected}


def test_a_scale_that_is_too_large_costs_updates_and_nothing_else(llama, tmp_path, monkeypatch):
    monkeypatch.setattr(fairtune.train.scaling, "START", 2.0**19)
    network, curve, result = run(llama, tmp_path, "fp16_mixed")
    skipped = [u.grad_norm is None for u in curve]
    count = sum(skipped)
    assert 1 <= count < len(curve)
    assert skipped == [True] * count + [False] * (len(curve) - count)
    assert (result.scaling.skipped, result.scaling.scale) == (count, 2.0 ** (19 - count))
    assert result.tokens == exact_tokens(RECIPE.epochs)

    # A run that has the right scale at once, and is told to leave out as many updates: the same bits.
    monkeypatch.setattr(fairtune.train.scaling, "START", result.scaling.scale)
    left = iter([False] * count + [True] * (len(curve) - count))
    monkeypatch.setattr(Scaling, "fits", lambda scaling, norm: next(left))
    other, expected, _ = run(llama, tmp_path, "fp16_mixed")
    assert [(u.loss, u.learning_rate, u.grad_norm) for u in curve] == [
        (u.loss, u.learning_rate, u.grad_norm) for u in expected
    ]
    for (name, weight), same in zip(network.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(weight, same), name


def exact_tokens(epochs):
    return epochs * sum(len(item.tokens) for item in tiny.encoded(16))


def test_what_a_method_makes_of_gradients_stays_finite_after_a_skipped_update(llama, tmp_path, monkeypatch):
    monkeypatch.setattr(fairtune.train.scaling, "START", 2.0**17)
    options = {"rank": 2, "initial_rank": 4}
    network, curve, _ = run(llama, tmp_path, "fp16_mixed", "adalora", options=options)
    assert any(u.grad_norm is None for u in curve)
    assert all(torch.isfinite(weight).all() for weight in network.parameters())
    # Ranks are pruned by importance: as many are left as were asked for, and not as chance has it among NaNs.
    kept = network.peft_config["default"].rank_pattern
    assert sum(map(sum, kept.values())) == 2 * len(kept)


def test_the_scale_follows_the_one_of_torch(monkeypatch):
    monkeypatch.setattr(fairtune.train.scaling, "_STEADY", 3)
    theirs = torch.amp.GradScaler("cpu", init_scale=2.0**60, growth_interval=3)
    theirs.scale(torch.ones(1))
    weight = torch.nn.Parameter(torch.ones(1))
    plain, ours = torch.optim.SGD([weight], lr=0.0), Scaling("fp16_mixed")
    ours.scale = 2.0**60
    draw = random.Random(0)
    for _ in range(60):
        norm = draw.choice([1.0, 1.0, 1.0, float("inf"), float("nan")])
        weight.grad = torch.full((1,), norm)
        theirs.step(plain)
        theirs.update()
        ours.fits(norm)
        assert ours.scale == theirs.get_scale()


def test_a_scale_goes_on_from_where_its_state_was():
    first, second = Scaling("fp16_mixed"), Scaling("fp16_mixed")
    for norm in (float("inf"), float("nan"), 1.0, float("inf")):
        first.fits(norm)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert (second.scale, second.skipped, second.skipped_in_a_row) == (START / 8, 3, 1)
    assert vars(second) == vars(first)


def test_gradients_that_fit_at_no_scale_end_the_run():
    scaling = Scaling("fp16_mixed")
    assert not any(scaling.fits(float("inf")) for _ in range(16))
    with pytest.raises(DivergedError, match=r"norm is inf .* skipped in a row: 17\. Lower the learning rate"):
        scaling.fits(float("inf"))
    with pytest.raises(DivergedError, match="the gradient's norm is nan"):
        Scaling("bf16_mixed").fits(float("nan"))


def test_a_run_in_which_nothing_fitted_has_no_result(llama, tmp_path, monkeypatch):
    monkeypatch.setattr(fairtune.train.scaling, "START", 2.0**60)
    with pytest.raises(DivergedError, match="all 3 updates were skipped"):
        run(llama, tmp_path, "fp16_mixed", recipe=RECIPE.model_copy(update={"epochs": 1}))


def test_a_loss_that_is_not_finite_is_no_matter_of_scale(llama, tmp_path):
    tuned = tiny.tuned(llama, "full", precision="fp16_mixed")
    with torch.no_grad():
        tuned.model.network.get_input_embeddings().weight[:] = float("nan")
    with pytest.raises(DivergedError, match="the loss is nan"):
        train(tuned, tiny.encoded(6), tiny.encoded(2), RECIPE, 0, tmp_path / "best", lambda update: None)


def test_the_curve_has_no_norm_where_an_update_was_skipped(tmp_path):
    folder = RunFolder(tmp_path)
    with curve_writer(folder, ProgressFile(folder.progress), 0) as write:
        write(UpdateReport(1, 2, 1, 3.0, 0.1, 10, 1.0, None))
        write(UpdateReport(2, 2, 1, 2.5, 0.1, 20, 2.0, 4.0))
    assert [json.loads(line)["grad_norm"] for line in folder.curve.read_text().splitlines()] == [None, 4.0]
