"""Likelihoods of continuations: what is shared among requests must not change what they are."""

import random

import pytest
import torch

import fairtune.evaluate.continuations as continuations
from fairtune.errors import DataError
from fairtune.evaluate.continuations import Continuation, score_continuations
from fairtune.evaluate.tree import Asked, grow, row_of
from fairtune.models import memory
from tests import tiny


def alone(model, asked):
    """Each request by itself, as the definition says."""
    found = []
    for item in asked:
        tokens = torch.tensor([[*item.context, *item.tokens]])
        with torch.no_grad():
            log_p = model.network(input_ids=tokens).logits[0].float().log_softmax(-1)
        rows = log_p[len(item.context) - 1 : -1]
        targets = torch.tensor(item.tokens)
        found.append((float(rows.gather(1, targets[:, None]).sum()), bool((rows.argmax(-1) == targets).all())))
    return found


def requests(count, seed=0, header=60):
    """Questions after one of two headers, with several continuations each, some of one token, some equal."""
    draw = random.Random(seed)

    def some(length):
        return tuple(draw.randrange(3, 259) for _ in range(length))

    headers = [some(header), some(header // 2), ()]
    asked = []
    for _ in range(count):
        context = draw.choice(headers) + some(draw.randint(1, 9))
        shared = some(draw.randint(0, 3))
        asked += [Continuation(context, shared + some(draw.randint(1, 4))) for _ in range(draw.randint(1, 4))]
        asked.append(draw.choice(asked))
    return asked


def agree(found, expected):
    assert [item.greedy for item in found] == [greedy for _, greedy in expected]
    assert [item.log_likelihood for item in found] == pytest.approx([value for value, _ in expected], abs=2e-4)


@pytest.fixture(params=["llama", "gpt2", "gemma3"])
def model(request):
    return tiny.language_model(request.getfixturevalue(request.param))


@pytest.mark.parametrize("budget", [1024, 48])
def test_a_continuation_scores_the_same_alone_and_among_others(model, budget, monkeypatch):
    """With a small budget rows are many, and headers are kept from pass to pass; windows are shorter than these."""
    assert model.batching.branches
    monkeypatch.setitem(memory._MOST, "cpu", budget)
    monkeypatch.setattr(memory, "_LEAST", 8)
    asked = requests(12)
    agree(score_continuations(model, asked), alone(model, asked))


def test_a_greedy_continuation_is_known_as_one(llama):
    model = tiny.language_model(llama)
    context = tuple(range(5, 15))
    tokens = ()
    for _ in range(4):
        with torch.no_grad():
            tokens += (int(model.network(input_ids=torch.tensor([[*context, *tokens]])).logits[0, -1].argmax()),)
    worse = (*tokens[:-1], (tokens[-1] + 1) % 260)
    found = score_continuations(model, [Continuation(context, tokens), Continuation(context, worse)])
    assert [item.greedy for item in found] == [True, False]


def test_models_whose_texts_cannot_branch_give_the_same(llama, monkeypatch):
    """A prefix that a method puts before every text makes a row of each."""
    plain, padded = tiny.language_model(llama), tiny.language_model(llama)
    padded.put_before(0)
    assert not padded.batching.branches
    asked = requests(8)
    monkeypatch.setitem(memory._MOST, "cpu", 100)
    expected = score_continuations(plain, asked)
    agree(score_continuations(padded, asked), [(item.log_likelihood, item.greedy) for item in expected])


def test_what_is_shared_goes_through_the_network_once(llama, monkeypatch):
    model = tiny.language_model(llama)
    seen = []
    model.network.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    monkeypatch.setitem(memory._MOST, "cpu", 64)
    header = tuple(range(10, 50))
    questions = [(*header, 60 + number, 61) for number in range(30)]
    asked = [Continuation(question, (5 + choice, 9)) for question in questions for choice in range(3)]
    score_continuations(model, asked * 2)
    # The header, the questions, and of every choice the one token that is read.
    assert sum(seen) == 40 + 30 * 2 + 90
    assert max(seen) <= 64


def test_too_long_a_context_loses_its_beginning_and_says_so(llama):
    model = tiny.language_model(llama)
    draw = random.Random(3)
    long = tuple(draw.randrange(3, 259) for _ in range(300))
    (found,) = score_continuations(model, [Continuation(long, (7, 8))])
    assert found.cut == 300 + 2 - 257
    agree([found], alone(model, [Continuation(long[-255:], (7, 8))]))
    with pytest.raises(DataError, match="longer than the model reads"):
        score_continuations(model, [Continuation((5,), long)])
    with pytest.raises(DataError, match="at least one token"):
        score_continuations(model, [Continuation((5,), ())])


def test_running_out_of_memory_halves_what_runs_together_and_loses_nothing(llama, monkeypatch):
    model = tiny.language_model(llama)
    asked = requests(12)
    expected = alone(model, asked)
    monkeypatch.setitem(memory._MOST, "cpu", 256)
    monkeypatch.setattr(memory, "_LEAST", 32)

    def fail(module, args, kwargs):
        if kwargs["input_ids"].numel() > 100:
            raise torch.OutOfMemoryError("out of memory")

    model.network.register_forward_pre_hook(fail, with_kwargs=True)
    told = []
    agree(score_continuations(model, asked, told.append), expected)
    assert told[-1] == len(asked)
    assert told == sorted(told)


def test_one_row_that_does_not_fit_halves_the_budget_once(llama, monkeypatch):
    """However many rows of the old size were planned behind it."""
    model = tiny.language_model(llama)
    draw = random.Random(4)
    asked = [Continuation(tuple(draw.randrange(3, 259) for _ in range(30)), (7, 8)) for _ in range(200)]
    monkeypatch.setitem(memory._MOST, "cpu", 256)
    monkeypatch.setattr(memory, "_LEAST", 16)
    failed = []

    def fail(module, args, kwargs):
        if kwargs["input_ids"].numel() > 128:
            failed.append(kwargs["input_ids"].numel())
            raise torch.OutOfMemoryError("out of memory")

    model.network.register_forward_pre_hook(fail, with_kwargs=True)
    assert len(score_continuations(model, asked)) == 200
    assert len(failed) == 1


def test_memory_that_never_suffices_is_an_error(llama, monkeypatch):
    model = tiny.language_model(llama)

    def fail(module, args, kwargs):
        raise torch.OutOfMemoryError("out of memory")

    model.network.register_forward_pre_hook(fail, with_kwargs=True)
    with pytest.raises(torch.OutOfMemoryError):
        score_continuations(model, requests(2))


def test_bf16_agrees_with_itself_however_rows_are_cut(llama, monkeypatch):
    model = tiny.language_model(llama, "bf16")
    asked = requests(6)
    one = score_continuations(model, asked)
    monkeypatch.setitem(memory._MOST, "cpu", 80)
    other = score_continuations(model, asked)
    # bf16 has 8 bits of precision: sums in another order differ by so much.
    assert [item.log_likelihood for item in one] == pytest.approx([item.log_likelihood for item in other], rel=0.02)


def test_a_tree_has_every_beginning_once():
    texts = [(1, 2, 3, 4), (1, 2, 3, 5), (1, 2), (1, 2, 3, 4), (9,)]
    asked = [[Asked(len(text) - 1, 7, request)] for request, text in enumerate(texts)]
    branches = grow(texts, asked)
    assert [list(node.tokens) for node in branches] == [[1, 2], [9]]
    assert [node.size for node in branches] == [5, 1]
    row = row_of([], branches)
    assert row.tokens.tolist() == [1, 2, 3, 4, 5, 9]
    assert row.positions.tolist() == [0, 1, 2, 3, 3, 0]
    assert row.ends.tolist() == [5, 5, 5, 4, 5, 6]
    # Text 2 ends within others; texts 0 and 3 are one.
    assert sorted(zip(row.requests.tolist(), row.places[row.of].tolist(), strict=True)) == [
        (0, 3),
        (1, 4),
        (2, 1),
        (3, 3),
        (4, 5),
    ]


def test_no_request_is_no_work(llama):
    assert continuations.score_continuations(tiny.language_model(llama), []) == []
