"""Answers: how many are written at a time, and beside which others, must not change what they are."""

import random

import pytest
import torch
from transformers import GenerationConfig

from fairtune.evaluate.drafts import Chooser, Draft
from fairtune.evaluate.generation import write
from fairtune.models import memory
from fairtune.models.slots import Slots
from fairtune.study import Generation
from tests import tiny

HEADER = tuple(random.Random(1).randrange(3, 259) for _ in range(50))


def prompts(count, header=(), longest=30, seed=0):
    draw = random.Random(seed)
    return [header + tuple(draw.randrange(3, 259) for _ in range(draw.randint(1, longest))) for _ in range(count)]


def alone(model, prompt, most):
    """By transformers' own loop, by itself."""
    config = GenerationConfig(
        do_sample=False, max_new_tokens=most, eos_token_id=model.stops, pad_token_id=model.stops[0]
    )
    tokens = torch.tensor([prompt])
    new = model.network.generate(tokens, attention_mask=torch.ones_like(tokens), generation_config=config)
    found = new[0, len(prompt) :].tolist()
    end = next((place for place, token in enumerate(found) if token in model.stops), None)
    return model.tokenizer.decode(found[:end], skip_special_tokens=True).strip(), end is not None


def opened(folder):
    """Random models rarely end: a quarter of the tokens are end tokens here."""
    model = tiny.language_model(folder)
    model.stops = sorted(random.Random(5).sample(range(260), 65))
    return model


@pytest.fixture(params=["llama", "gpt2", "gemma3"])
def model(request):
    return opened(request.getfixturevalue(request.param))


@pytest.mark.parametrize("header", [(), HEADER], ids=["nothing shared", "a header"])
@pytest.mark.parametrize("rows", [1, 5, 64])
def test_greedy_answers_are_those_of_transformers(model, header, rows):
    asked = prompts(14, header) + prompts(3, seed=9)
    found = write(model, asked, 24, rows=rows)
    assert [(answer.text, answer.stopped) for answer in found] == [alone(model, prompt, 24) for prompt in asked]
    assert len({answer.tokens for answer in found}) > 1


def test_prompts_longer_than_a_row_are_read_in_pieces(model, monkeypatch):
    asked = prompts(6, HEADER, longest=60)
    expected = write(model, asked, 8)
    monkeypatch.setitem(memory._MOST, "cpu", 16)
    monkeypatch.setattr(memory, "_LEAST", 8)
    assert write(model, asked, 8) == expected


def test_a_header_is_read_once_and_a_free_place_is_taken_at_once(llama):
    model = opened(llama)
    seen = []
    model.network.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    asked = prompts(12, HEADER, longest=5)
    found = write(model, asked, 20, rows=4)
    own = sum(len(prompt) - len(HEADER) for prompt in asked)
    # What is written but the last token of each answer, which nothing follows, is read too.
    steps = sum(min(answer.tokens + answer.stopped, 20) - 1 for answer in found)
    assert sum(seen) == len(HEADER) + own + steps


def test_models_whose_texts_cannot_lie_in_a_row_answer_the_same(llama):
    plain, padded = opened(llama), opened(llama)
    padded.put_before(0)
    asked, how = prompts(9), Generation(temperature=0.7, top_k=20, stop=("a",))
    assert write(padded, asked, 16) == write(plain, asked, 16)
    assert write(padded, asked, 16, how, range(9)) == write(plain, asked, 16, how, range(9))


def test_an_answer_ends_before_its_stop_text(model):
    asked = prompts(12)
    free = write(model, asked, 24)
    stop = next(answer.written[5:8] for answer in free if len(answer.written) > 12)
    for answer, before in zip(write(model, asked, 24, Generation(stop=(stop, "\x00never"))), free, strict=True):
        assert answer.written == before.written.split(stop)[0]
        assert answer.stopped == (stop in before.written or before.stopped)
        assert answer.tokens <= before.tokens


def test_draws_depend_on_the_seed_of_the_item_alone(model):
    asked, how = prompts(10), Generation(temperature=1.3, top_p=0.95, repetition_penalty=1.1)
    seeds = list(range(100, 110))
    found = write(model, asked, 12, how, seeds, rows=3)
    assert write(model, asked[::-1], 12, how, seeds[::-1], rows=64)[::-1] == found
    assert write(model, asked[4:5], 12, how, seeds[4:5]) == found[4:5]
    assert write(model, asked, 12, how, range(10)) != found


@pytest.mark.parametrize(
    ("how", "allowed"),
    [
        (Generation(temperature=1), [0.5, 0.3, 0.15, 0.05]),
        (Generation(temperature=0.5), [0.25 / 0.365, 0.09 / 0.365, 0.0225 / 0.365, 0.0025 / 0.365]),
        (Generation(temperature=1, top_k=2), [0.625, 0.375, 0, 0]),
        (Generation(temperature=1, top_p=0.9), [0.5 / 0.95, 0.3 / 0.95, 0.15 / 0.95, 0]),
    ],
    ids=["all", "temperature", "top_k", "top_p"],
)
def test_draws_have_the_distribution_they_should_have(how, allowed):
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]])).repeat(4000, 1)
    drafts = [Draft([0], 1, how, seed) for seed in range(4000)]
    shares = torch.bincount(Chooser(how).choose(logits, drafts), minlength=4) / 4000
    # Four standard errors of a share.
    assert shares.tolist() == pytest.approx(allowed, abs=4 * (0.25 / 4000) ** 0.5)
    assert all(share == 0 for share, right in zip(shares.tolist(), allowed, strict=True) if right == 0)


def test_a_repetition_penalty_is_that_of_ctrl():
    """Keskar et al. 2019: positive scores of tokens that were read are divided, negative ones multiplied."""
    draft = Draft([0, 1], 5, Generation(repetition_penalty=2.0), None)
    chosen = Chooser(Generation(repetition_penalty=2.0)).choose(torch.tensor([[3.0, -1.0, 1.6, -1.5]]), [draft])
    assert chosen.tolist() == [2]
    draft.new.append(2)
    chosen = Chooser(Generation(repetition_penalty=2.0)).choose(torch.tensor([[-1.0, -1.0, -1.6, -1.9]]), [draft])
    assert chosen.tolist() == [3]


@pytest.mark.parametrize("most", [3, 40])
def test_running_out_of_memory_sends_drafts_back_and_loses_nothing(llama, monkeypatch, most):
    """In a step: fewer at a time. While prompts are read: fewer together."""
    model = opened(llama)
    asked = prompts(12)
    expected = write(model, asked, 16)
    monkeypatch.setitem(memory._MOST, "cpu", 128)
    monkeypatch.setattr(memory, "_LEAST", 32)

    def fail(module, args, kwargs):
        step = not hasattr(kwargs["packing"], "tiles")
        if kwargs["input_ids"].numel() > (3 if step and most == 3 else 40):
            raise torch.OutOfMemoryError("out of memory")

    model.network.register_forward_pre_hook(fail, with_kwargs=True)
    told = []
    assert write(model, asked, 16, done=told.append) == expected
    assert told[-1] == 12


def test_prompts_that_fill_the_memory_wait_until_answers_have_ended(llama, monkeypatch):
    model = opened(llama)
    asked = prompts(12)
    expected = write(model, asked, 16)
    add = Slots.add

    def full(self, past, spans):
        if len(self.lengths) + len(spans) > 4:
            raise torch.OutOfMemoryError("out of memory")
        add(self, past, spans)

    monkeypatch.setattr(Slots, "add", full)
    monkeypatch.setattr(memory, "_LEAST", 2)
    assert write(model, asked, 16, rows=6) == expected


def test_padded_answers_survive_running_out_of_memory(llama):
    model = opened(llama)
    model.put_before(0)
    asked, how = prompts(9), Generation(temperature=1.0)
    expected = write(model, asked, 8, how, range(9))

    def fail(module, args, kwargs):
        if len(kwargs["input_ids"]) > 2:
            raise torch.OutOfMemoryError("out of memory")

    model.network.register_forward_pre_hook(fail, with_kwargs=True)
    assert write(model, asked, 8, how, range(9)) == expected


def test_equal_prompts_are_read_once_and_drawn_apart(llama):
    model = opened(llama)
    seen = []
    model.network.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    asked, how = prompts(1) * 6, Generation(temperature=2.0)
    found = write(model, asked, 1, how, range(6))
    assert sum(seen) == len(asked[0])
    assert len({answer.written for answer in found}) > 1


def test_a_special_token_may_be_a_stop_text(llama):
    """lm-eval's tasks name end tokens of other models, which this one may write as a token like others."""
    model = opened(llama)
    model.stops = [300]
    special = model.tokenizer.convert_tokens_to_ids("<|im_start|>")
    draft = Draft((5,), 4, Generation(stop=("<|im_start|>",)), None)
    for token in (70, special, 71):
        draft.add(token, model.stops, model.tokenizer)
    assert draft.finished
    assert draft.new == [70, special]
    assert draft.answer(model.tokenizer).written == model.tokenizer.decode([70])


def test_nothing_asked_is_nothing_written(llama):
    assert write(tiny.language_model(llama), [], 5) == []
