"""Models made anew: their shape, their seed, and what comes back from disk."""

import pytest
import torch

from fairtune.data import Encoded
from fairtune.errors import ModelError, SpecError
from fairtune.evaluate.sampling import sample
from fairtune.execute import vocabulary
from fairtune.models import fetch, identify
from fairtune.models.likelihood import item_losses
from fairtune.models.opening import open_model, open_tokenizer
from fairtune.models.scratch import character_tokenizer
from fairtune.study import ModelRef, Scratch, Training, expand, load_study
from fairtune.train.loop import train
from tests import tiny

TEXT = tiny.text(400)
CPU = torch.device("cpu")


def shape(architecture="gpt2", **changes):
    return Scratch(**{"architecture": architecture, "layers": 2, "heads": 2, "hidden": 16, "context": 8, **changes})


def made(architecture="gpt2", seed=0, precision="fp32", **changes):
    choice = identify(ModelRef(scratch=shape(architecture, **changes)), None)
    tokenizer = open_tokenizer(choice, fetch(choice, print), [TEXT])
    return open_model(choice, None, tokenizer, precision, CPU, 1000, seed)


def bits(model):
    return [weight.view(torch.uint8).tolist() for weight in model.network.state_dict().values()]


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_same_seed_makes_the_same_weights_and_another_seed_others(architecture, precision):
    first = bits(made(architecture, precision=precision))
    assert bits(made(architecture, precision=precision)) == first
    assert bits(made(architecture, precision=precision, seed=1)) != first


@pytest.mark.parametrize(("layers", "hidden", "context"), [(1, 16, 8), (3, 24, 5)])
def test_the_number_of_weights_is_what_the_shape_says(layers, hidden, context):
    words = len(character_tokenizer([TEXT]))
    count = {
        kind: sum(p.numel() for p in made(kind, layers=layers, hidden=hidden, context=context).network.parameters())
        for kind in ("gpt2", "llama")
    }
    # Embeddings once, since input and output share them; 12 h² + 13 h a layer; a last norm.
    block = 12 * hidden**2 + 13 * hidden
    assert count["gpt2"] == (words + context) * hidden + layers * block + 2 * hidden
    wide = {16: 48, 24: 64}[hidden]  # 8/3 h, up to a multiple of 8
    assert count["llama"] == words * hidden + layers * (4 * hidden**2 + 3 * hidden * wide + 2 * hidden) + hidden


def test_two_equal_shapes_are_one_model_and_their_names_do_not_matter(tmp_path):
    tiny.tokenizer(chat=False).save_pretrained(tmp_path / "tokenizer")
    tiny.tokenizer(chat=False).save_pretrained(tmp_path / "copy" / "tokenizer")

    def known(root=tmp_path, name=None, **changes):
        return identify(ModelRef(scratch=shape(**changes), name=name), root).fingerprint

    assert known() == known(name="mine")
    assert len({known(), known(layers=3), known(architecture="llama"), known(tokenizer="./tokenizer")}) == 4
    assert known(tokenizer="./tokenizer") == known(tmp_path / "copy", tokenizer="./tokenizer")
    tiny.tokenizer().save_pretrained(tmp_path / "copy" / "tokenizer")
    assert known(tokenizer="./tokenizer") != known(tmp_path / "copy", tokenizer="./tokenizer")


def test_a_tokenizer_of_a_folder_is_used_and_a_missing_one_is_told(tmp_path):
    tiny.tokenizer(chat=False).save_pretrained(tmp_path / "tokenizer")
    choice = identify(ModelRef(scratch=shape(tokenizer="./tokenizer")), tmp_path)
    tokenizer = open_tokenizer(choice, None, [])
    model = open_model(choice, None, tokenizer, "fp32", CPU, 8, 0)
    assert model.network.get_input_embeddings().num_embeddings == len(tokenizer) == 260
    with pytest.raises(ModelError, match="Allowed: char, or a folder"):
        identify(ModelRef(scratch=shape(tokenizer="./none")), tmp_path)


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_a_saved_model_is_the_same_in_plain_transformers(tmp_path, architecture):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = made(architecture, seed=3)
    tiny.attach(model, "full").save(tmp_path)
    again, tokenizer = AutoModelForCausalLM.from_pretrained(tmp_path).eval(), AutoTokenizer.from_pretrained(tmp_path)
    tokens = tokenizer(TEXT[:8], return_tensors="pt").input_ids
    assert tokens.shape == (1, 8)
    with torch.no_grad():
        ours = model.network(input_ids=tokens).logits
        assert torch.allclose(again(input_ids=tokens).logits, ours, atol=1e-6)


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_a_window_of_the_context_and_one_token_is_scored_as_plain_logits_say(architecture):
    model = made(architecture)
    tokens = tuple(model.tokenizer(TEXT[:9])["input_ids"])
    (found,) = item_losses(model, [Encoded("a", tokens, (False, *[True] * 8), 1, "")])
    with torch.no_grad():
        logits = model.network(input_ids=torch.tensor([tokens[:-1]])).logits[0]
    assert found.tokens == 8
    assert found.loss == pytest.approx(
        float(torch.nn.functional.cross_entropy(logits, torch.tensor(tokens[1:]), reduction="sum")), rel=1e-5
    )


# --- samples -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("context", "tokens"), [(8, 50), (8, 1), (1, 5), (64, 50)])
def test_samples_have_their_length_beyond_the_context_and_follow_the_seed(context, tokens):
    model = made(context=context)
    start = model.tokenizer(TEXT[:3])["input_ids"]
    first = sample(model, start, 2, tokens, 1.0, seed=0)
    assert {found.start for found in first} == {TEXT[:3]}
    assert sample(model, start, 2, tokens, 1.0, seed=0) == first
    if tokens > 1:
        assert sample(model, start, 2, tokens, 1.0, seed=1) != first
        assert first[0] != first[1]
    special = set(model.tokenizer.all_special_tokens)
    assert all(len(found.text) <= tokens and not any(token in found.text for token in special) for found in first)


def test_a_cold_sample_is_the_most_likely_text():
    model = made(context=64)
    start = model.tokenizer(TEXT[:5])["input_ids"]
    with torch.no_grad():
        tokens = torch.tensor([start])
        for _ in range(10):
            tokens = torch.cat([tokens, model.network(input_ids=tokens).logits[:, -1:].argmax(-1)], dim=1)
    expected = model.tokenizer.decode(tokens[0, 5:], skip_special_tokens=True)
    assert sample(model, start, 1, 10, 1e-6, seed=0)[0].text == expected


# --- updates instead of epochs -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("updates", "epochs"), [(1, 1), (3, 1), (4, 2), (8, 3), (9, 3)])
def test_training_makes_exactly_the_updates_it_is_asked_for(tmp_path, updates, epochs):
    model = made(context=128, hidden=32)
    tuned = tiny.attach(model, "full")
    curve = []
    recipe = Training(updates=updates, batch_size=6, learning_rate=1e-3)
    result = train(
        tuned, tiny.encoded_for(model, 16), tiny.encoded_for(model, 3), recipe, 0, tmp_path / "b", curve.append
    )
    assert [update.step for update in curve] == list(range(1, updates + 1))
    assert {update.steps for update in curve} == {updates}
    assert [update.epoch for update in curve] == [n // 3 + 1 for n in range(updates)]
    assert len(result.validation_losses) == epochs
    assert result.best_epoch in range(1, epochs + 1)


def test_as_many_updates_as_an_epoch_has_are_an_epoch(tmp_path):
    def losses(recipe):
        model = made(context=128, hidden=32)
        tuned = tiny.attach(model, "full")
        curve = []
        train(tuned, tiny.encoded_for(model, 16), tiny.encoded_for(model, 3), recipe, 0, tmp_path / "b", curve.append)
        return [(update.loss, update.learning_rate) for update in curve]

    assert losses(Training(updates=6, batch_size=6, learning_rate=1e-3)) == losses(
        Training(epochs=2, batch_size=6, learning_rate=1e-3)
    )


# --- the study file ------------------------------------------------------------------------------------------------

STUDY = """
name: s
task: cldr-spanish
models:
  - scratch: {architecture: gpt2, layers: 2, heads: 2, hidden: 16, context: 8}
methods:
  - base
  - full
"""


def load(folder, text):
    (folder / "study.yaml").write_text(text)
    return load_study(folder / "study.yaml", vocabulary())


def problems(folder, text):
    with pytest.raises(SpecError) as caught:
        load(folder, text)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("before", "after", "start"),
    [
        ("architecture:", "archtecture:", "models[0].scratch.archtecture: unknown; did you mean 'architecture'?"),
        ("gpt2", "gtp2", "models[0].scratch.architecture: 'gtp2' is not allowed; did you mean 'gpt2'?"),
        ("hidden: 16", "hidden: 17", "models[0].scratch.hidden: 17: 2 heads need a multiple of 2, such as 16 or 18"),
        ("heads: 2, ", "", "models[0].scratch.heads: is required and missing"),
        ("layers: 2", "layers: 0", "models[0].scratch.layers: 0: should be greater than or equal to 1"),
        ("- scratch:", "- source: ./here\n    scratch:", "models[0]: "),
        ("- scratch:", "- revision: main\n    scratch:", "models[0]: "),
        ("- scratch: {architecture: gpt2, layers: 2, heads: 2, hidden: 16, context: 8}", "- name: x", "models[0]: "),
        ("  - full", "  - full: {epochs: 2, updates: 5}", "methods[1].full.epochs: 2: stands beside updates: 5; keep"),
        (
            "methods:",
            "training: {epochs: 2, updates: 5}\nmethods:",
            "training.epochs: 2: stands beside updates: 5; keep",
        ),
    ],
)
def test_what_is_wrong_is_told_by_its_path(tmp_path, before, after, start):
    found = problems(tmp_path, STUDY.replace(before, after))
    assert any(problem.startswith(start) for problem in found), found


def test_llama_needs_heads_of_even_width(tmp_path):
    text = STUDY.replace("gpt2", "llama").replace("hidden: 16", "hidden: 18")
    assert problems(tmp_path, text) == ["models[0].scratch.hidden: 18: 2 heads need a multiple of 4, such as 16 or 20"]


def test_a_methods_own_length_of_training_replaces_the_studys(tmp_path):
    methods = "methods:\n  - full: {epochs: 3}\n  - full: {updates: 7}\n  - full\n"
    for training, expected in (
        ("{updates: 50}", [(3, None), (None, 7), (None, 50)]),
        ("{epochs: 2}", [(3, None), (None, 7), (2, None)]),
        ("{}", [(3, None), (None, 7), (1, None)]),
    ):
        loaded = load(tmp_path, f"name: s\ntask: cldr-spanish\nmodels: [m]\ntraining: {training}\n{methods}")
        runs = expand(loaded, vocabulary(), lambda ref, root: identify(ModelRef(scratch=shape()), root), "data")
        assert [(run.training.epochs, run.training.updates) for run in runs] == expected


def test_an_untrained_model_from_scratch_is_named_by_its_seed_and_others_are_not(tmp_path):
    def base(seeds):
        loaded = load(tmp_path, f"{STUDY}seeds: {seeds}\n")
        return next(run for run in expand(loaded, vocabulary(), identify, "data") if not run.method.trains)

    assert base([0, 1]).run_id == base([0]).run_id != base([1]).run_id
    assert base([1]).seed == 1
