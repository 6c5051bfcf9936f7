"""Answers chosen by likelihood: a label, a row's own choice, a set of labels."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from transformers import AutoModelForCausalLM

from fairtune.data import Message, encode_all, make_example
from fairtune.errors import DataError
from fairtune.evaluate.continuations import Likelihood
from fairtune.evaluate.label_choice import Offer, best_threshold, choose_label_sets, choose_options, require_room
from tests import tiny

LABELS = ("no", "none", "yes")


def asked(count):
    return [make_example((Message("user", f"Is it {n}?"), Message("assistant", LABELS[n % 3]))) for n in range(count)]


def likelihoods(folder, tokenizer, example, options):
    """Each option as the whole answer, by transformers."""
    network = AutoModelForCausalLM.from_pretrained(folder).eval()
    found = []
    for option in options:
        answered = make_example((*example.prompt, Message("assistant", option)))
        (item,) = encode_all([answered], tokenizer)
        with torch.no_grad():
            log_p = network(torch.tensor([item.tokens])).logits[0].log_softmax(-1)
        found.append(sum(float(log_p[t - 1, item.tokens[t]]) for t in range(item.prompt_length, len(item.tokens))))
    return found


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_the_answer_is_the_likeliest_whole_one_with_its_end(kind, request):
    """Among as many as each example offers."""
    folder = request.getfixturevalue(kind)
    model = tiny.language_model(folder)
    offers = [Offer(example, LABELS[: 2 + n % 2]) for n, example in enumerate(asked(6))]
    expected = []
    for offer in offers:
        found = likelihoods(folder, model.tokenizer, offer.example, offer.options)
        expected.append(offer.options[found.index(max(found))])
    told = []
    answers = choose_options(model, offers, told.append)
    assert [answer.text for answer in answers] == expected
    assert [answer.tokens for answer in answers] == [len(text) for text in expected]
    assert all(answer.stopped for answer in answers)
    assert told[-1] == 15


def test_prompts_that_do_not_fit_are_refused(llama, monkeypatch):
    long = make_example((Message("user", "x" * 300), Message("assistant", "no")))
    model = tiny.language_model(llama)
    cut = Likelihood(0.0, False, cut=1)
    monkeypatch.setattr("fairtune.evaluate.label_choice.score_continuations", lambda model, asked, done: [cut] * 3)
    with pytest.raises(DataError, match="longer than the model's context"):
        choose_options(model, [Offer(long, LABELS)])


def test_the_room_that_is_asked_for_is_that_of_the_longest_option():
    """To the token: the last one of an answer is never read."""
    tokenizer, example = tiny.tokenizer(), asked(1)[0]
    options = ("no", "é" * 4, "c" * 9)  # "é" is two tokens a character, and fewer characters
    needed = [len(item.tokens) - 1 for item in Offer(example, options).encoded(tokenizer, options)]
    require_room([Offer(example, options)], tokenizer, max(needed))
    require_room([Offer(example, options)], tokenizer, None)
    with pytest.raises(DataError, match=f"'ccccccccc' need {max(needed)} tokens, and the model's context holds"):
        require_room([Offer(example, options)], tokenizer, max(needed) - 1)


# --- sets of labels -------------------------------------------------------------------------------------------------


def micro_f1(named, right):
    tp, named, right = (named & right).sum(), named.sum(), right.sum()
    return 2 * tp / (named + right) if named + right else 0.0


@settings(max_examples=60, deadline=None)
@given(
    arrays(np.float64, (4, 3), elements=st.integers(-3, 3).map(float)),
    arrays(np.bool_, (4, 3)),
)
def test_no_threshold_has_a_higher_micro_f1_and_no_higher_one_has_the_same(scores, right):
    threshold = best_threshold(scores, right)
    best = micro_f1(scores > threshold, right)
    for other in np.arange(-5, 5, 0.25):
        assert micro_f1(scores > other, right) <= best + 1e-12
        if (scores > other).sum() < (scores > threshold).sum():
            assert micro_f1(scores > other, right) < best


def test_thresholds_lie_between_scores():
    scores = np.array([[0.0, -1.0], [-2.0, -4.0]])
    assert best_threshold(scores, np.array([[True, True], [False, False]])) == -1.5
    assert best_threshold(scores, np.zeros((2, 2), bool)) == 0.0  # none is named
    assert best_threshold(scores, np.ones((2, 2), bool)) == -5.0  # all are


def test_sets_of_labels_are_those_above_the_threshold_of_the_validation_part(llama):
    model = tiny.language_model(llama)
    labels = ("a", "b", "longer")
    rows = [("a", "b"), ("b",), (), ("a", "longer")]
    examples = [
        make_example((Message("user", f"Is it {n}?"), Message("assistant", ", ".join(row) or "none")))
        for n, row in enumerate(rows * 2)
    ]
    validation, test = examples[:4], examples[4:]
    answers, threshold = choose_label_sets(model, test, validation, labels)
    scores = []
    for example in examples:
        none, *found = likelihoods(llama, model.tokenizer, example, ("none", *labels))
        scores.append([one - none for one in found])
    right = np.array([[label in row for label in labels] for row in rows])
    assert threshold == pytest.approx(best_threshold(np.array(scores[:4]), right), abs=1e-4)
    named = [[label for label, score in zip(labels, own, strict=True) if score > threshold] for own in scores[4:]]
    assert [answer.text for answer in answers] == [", ".join(own) or "none" for own in named]
    assert len({answer.text for answer in answers}) > 1
    # Other test items change nothing: the threshold knows only the validation part.
    again = choose_label_sets(model, test[:1], validation, labels)
    assert again[0][0].text == answers[0].text
    assert again[1] == pytest.approx(threshold, abs=1e-4)
