"""A training that was interrupted ends bit for bit where it would have ended, or says why it cannot go on."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from fairtune.study import Checkpoint, Training
from fairtune.train.checkpoint import Checkpoints
from fairtune.train.loop import train
from fairtune.train.state import write_tensors
from tests import tiny

# 16 examples: three epochs of four updates. Of full weights at this rate, the second epoch is the best.
RECIPE = Training(epochs=3, batch_size=4, learning_rate=0.1, schedule="constant", warmup=1 / 12)
UPDATES = 12


class KilledError(Exception):
    """Stands for the end of the process."""


def checkpoints(place, every=5, **identity):
    return Checkpoints(place / "checkpoints", Checkpoint(updates=every), {"run": "a", **identity}, {"threads": 1})


def attempt(model, place, kept, killed_at=None, method="full", options=None, recipe=RECIPE, precision="fp32"):
    """Trains with new objects, from what the checkpoints have found; the curve, the result and the weights."""
    tuned = tiny.attach(tiny.language_model(model, precision), method, options, updates=UPDATES)
    curve = []

    def report(update):
        if update.step == killed_at:
            raise KilledError
        curve.append((update.step, update.loss, update.grad_norm, update.learning_rate, update.tokens))

    place.mkdir(exist_ok=True)
    if kept:
        kept.look()
    data = tiny.encoded(16), tiny.encoded(5, seed=9)
    if killed_at:
        with pytest.raises(KilledError):
            train(tuned, *data, recipe, 0, place / "best", report, kept)
        return curve, None, None
    result = train(tuned, *data, recipe, 0, place / "best", report, kept)
    return curve, result, {name: weight.clone() for name, weight in tuned.model.network.state_dict().items()}


def facts(place, update):
    """What a checkpoint says besides tensors, the time aside."""
    found = json.loads((place / "checkpoints" / str(update) / "rank-0.json").read_text())
    assert found["facts"]["loop"].pop("update_seconds") > 0
    return found["facts"]


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


EIGHT_BITS = RECIPE.model_copy(update={"optimizer": "adamw_8bit", "learning_rate": 3e-3})


@pytest.mark.parametrize(
    ("method", "options", "recipe", "precision"),
    [
        ("full", None, RECIPE, "fp32"),
        ("full", None, RECIPE, "bf16"),
        ("full", None, EIGHT_BITS, "fp32"),
        ("lora", {"dropout": 0.1}, RECIPE, "fp32"),
        ("lora", {"init": "pissa", "rank": 4}, RECIPE, "fp32"),
        ("adalora", {"initial_rank": 4, "rank": 2}, RECIPE, "bf16"),
    ],
    ids=["full", "master copies", "8-bit", "dropout", "moved base", "adalora"],
)
def test_an_interrupted_training_is_the_uninterrupted_one_to_the_bit(
    llama, tmp_path, method, options, recipe, precision
):
    setting = {"method": method, "options": options, "recipe": recipe, "precision": precision}
    whole, result, weights = attempt(llama, tmp_path / "a", checkpoints(tmp_path / "a"), **setting)
    # Killed in the third epoch, goes on from the checkpoint at 5, in the second: over two ends of an epoch.
    first, _, _ = attempt(llama, tmp_path / "b", checkpoints(tmp_path / "b"), killed_at=10, **setting)
    later, resumed, again = attempt(llama, tmp_path / "b", checkpoints(tmp_path / "b"), **setting)
    assert first[:5] + later == whole
    assert (resumed.validation_losses, resumed.best_epoch) == (result.validation_losses, result.best_epoch)
    assert same(again, weights)
    # At the end of both: weights, masters, moments, counters, sources of chance, the best epoch's weights.
    files = [tmp_path / name / "checkpoints" / "12" / "rank-0.safetensors" for name in "ab"]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert facts(tmp_path / "a", 12) == facts(tmp_path / "b", 12)


def test_the_best_epoch_is_still_the_best_after_an_interruption(llama, tmp_path):
    """Its weights are nowhere but in the checkpoint: the first process is gone, and its file with it."""
    plain, result, weights = attempt(llama, tmp_path / "a", None)
    attempt(llama, tmp_path / "b", checkpoints(tmp_path / "b", every=10), killed_at=12)
    later, resumed, again = attempt(llama, tmp_path / "b", checkpoints(tmp_path / "b", every=10))
    assert result.best_epoch == 2
    assert later == plain[10:]
    assert resumed.best_epoch == result.best_epoch
    assert same(again, weights)


def test_a_training_that_was_complete_is_not_trained_again(llama, tmp_path):
    _, result, weights = attempt(llama, tmp_path, checkpoints(tmp_path))
    curve, resumed, again = attempt(llama, tmp_path, checkpoints(tmp_path))
    assert curve == []
    assert resumed == result
    assert same(again, weights)


def test_early_stopping_ends_training_and_keeps_the_best_epoch(llama, tmp_path):
    patient = RECIPE.model_copy(update={"epochs": 8, "warmup": 1 / 32, "early_stopping": 1})
    curve, result, weights = attempt(llama, tmp_path, checkpoints(tmp_path, every=3), recipe=patient)
    assert (result.best_epoch, len(result.validation_losses), result.updates, len(curve)) == (2, 3, 12, 12)
    # The schedule is constant after one update of warm-up, so a training that was planned to end there is the same.
    assert same(attempt(llama, tmp_path, None)[2], weights)
    nothing, resumed, again = attempt(llama, tmp_path, checkpoints(tmp_path, every=3), recipe=patient)
    assert (nothing, resumed) == ([], result)
    assert same(again, weights)


@pytest.fixture(scope="module")
def interrupted(llama, tmp_path_factory):
    """Checkpoints at updates 4 and 6 of a training that was killed at 8."""
    place = tmp_path_factory.mktemp("interrupted")
    attempt(llama, place, checkpoints(place, every=2), killed_at=8)
    assert sorted(path.name for path in (place / "checkpoints").iterdir()) == ["4", "6"]
    return place


def truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def garble(path):
    path.write_text('{"update": 6, "fil')


@pytest.mark.parametrize(
    ("name", "damage", "told"),
    [
        ("rank-0.safetensors", truncate, "damaged"),
        ("rank-0.safetensors", flip, "damaged"),
        ("rank-0.json", flip, "damaged"),
        ("rank-0.json", lambda path: path.unlink(), "cannot be read"),
        ("rank-0.safetensors", lambda path: path.unlink(), "cannot be read"),
        ("manifest.json", garble, "cannot be read"),
        ("manifest.json", lambda path: path.unlink(), "cannot be read"),
        ("manifest.json", lambda path: path.write_text("[]"), "cannot be read"),
    ],
)
def test_a_damaged_checkpoint_falls_back_to_the_one_before(interrupted, tmp_path, capsys, name, damage, told):
    shutil.copytree(interrupted / "checkpoints", tmp_path / "checkpoints")
    damage(tmp_path / "checkpoints" / "6" / name)
    kept = checkpoints(tmp_path)
    kept.look()
    assert kept.update == 4
    (remark,) = kept.remarks
    assert remark.startswith(f"the checkpoint at update 6 is not used: {name}")
    assert told in remark
    assert remark in capsys.readouterr().out
    damage(tmp_path / "checkpoints" / "4" / name)
    kept = checkpoints(tmp_path)
    kept.look()
    assert kept.found is None
    assert kept.remarks[1:] == ["no other checkpoint is left: training starts anew"]


def test_after_a_fall_back_the_bits_are_the_same_and_new_checkpoints_take_over(llama, interrupted, tmp_path):
    plain, _, weights = attempt(llama, tmp_path / "a", None)
    shutil.copytree(interrupted / "checkpoints", tmp_path / "checkpoints")
    flip(tmp_path / "checkpoints" / "6" / "rank-0.safetensors")
    later, _, again = attempt(llama, tmp_path, checkpoints(tmp_path, every=2))
    assert later == plain[4:]
    assert same(again, weights)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["10", "12", "unused"]


def test_a_checkpoint_of_another_run_or_package_is_refused_with_the_reason(interrupted, tmp_path):
    shutil.copytree(interrupted / "checkpoints", tmp_path / "checkpoints")
    kept = checkpoints(tmp_path, packages={"torch": "9.0"})
    kept.look()
    assert kept.found is None
    assert "it cannot be continued bit for bit (packages was None, is {'torch': '9.0'})" in kept.remarks[0]
    assert sorted(path.name for path in (tmp_path / "checkpoints" / "unused").iterdir()) == ["4", "6"]


def test_what_may_round_otherwise_is_remarked_and_no_reason_to_begin_again(interrupted, tmp_path):
    shutil.copytree(interrupted / "checkpoints", tmp_path / "checkpoints")
    kept = Checkpoints(tmp_path / "checkpoints", Checkpoint(updates=2), {"run": "a"}, {"threads": 8})
    kept.look()
    assert kept.update == 6
    assert kept.remarks[0].startswith("threads was 1, is 8: ")


def test_a_checkpoint_that_was_not_finished_is_none(interrupted, tmp_path):
    shutil.copytree(interrupted / "checkpoints" / "6", tmp_path / "checkpoints" / "unfinished")
    kept = checkpoints(tmp_path)
    kept.look()
    assert (kept.found, kept.remarks) == (None, [])


def test_a_disk_that_is_full_costs_the_checkpoint_and_not_the_training(llama, tmp_path, capsys):
    (tmp_path / "checkpoints").write_text("a file where a folder should be")
    _, result, _ = attempt(llama, tmp_path, checkpoints(tmp_path))
    assert result.updates == UPDATES
    assert "no checkpoint at update 5: " in capsys.readouterr().out


def test_checkpoints_are_written_by_the_clock_and_at_the_end_only_if_there_is_something_to_lose(tmp_path):
    from fairtune.train.state import State

    now = [0.0]
    kept = Checkpoints(tmp_path, Checkpoint(every=60), {}, {}, clock=lambda: now[0])
    written = []

    def offer(update, seconds, last=False):
        now[0] = seconds
        kept.offer(update, last, lambda: written.append(update) or State())

    for update, seconds in ((1, 30), (2, 59.9), (3, 60), (4, 100), (5, 120)):
        offer(update, seconds)
    offer(6, 125, last=True)
    assert written == [3, 5]
    offer(7, 126, last=True)
    assert written == [3, 5, 7]


def test_tensors_of_every_kind_are_read_by_the_library_as_they_were_written(tmp_path):
    tensors = {
        "byte": torch.arange(3, dtype=torch.uint8),
        "truth": torch.tensor([True, False]),
        "scalar": torch.tensor(2.5),
        "nothing": torch.zeros(0, 4),
        "half": torch.randn(3, 5).to(torch.bfloat16),
        "turned": torch.randn(4, 6).T,
        "whole": torch.arange(7),
        "double": torch.randn(2, dtype=torch.float64),
    }
    write_tensors(tmp_path / "a.safetensors", tensors)
    assert same(load_file(tmp_path / "a.safetensors"), tensors)
