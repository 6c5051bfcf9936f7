"""Labels chosen by likelihood."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from fairtune.data import Message, encode_all, make_example
from fairtune.errors import DataError
from fairtune.evaluate.continuations import Likelihood
from fairtune.evaluate.label_choice import choose_labels
from tests import tiny

LABELS = ("no", "none", "yes")


def asked(count):
    return [make_example((Message("user", f"Is it {n}?"), Message("assistant", LABELS[n % 3]))) for n in range(count)]


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_the_label_is_the_likeliest_whole_answer_with_its_end(kind, request):
    folder = request.getfixturevalue(kind)
    model = tiny.language_model(folder)
    network = AutoModelForCausalLM.from_pretrained(folder).eval()
    expected = []
    for example in asked(6):
        found = []
        for label in LABELS:
            answered = make_example((*example.prompt, Message("assistant", label)))
            (item,) = encode_all([answered], model.tokenizer)
            with torch.no_grad():
                log_p = network(torch.tensor([item.tokens])).logits[0].log_softmax(-1)
            tokens = range(item.prompt_length, len(item.tokens))
            found.append(sum(float(log_p[t - 1, item.tokens[t]]) for t in tokens))
        expected.append(LABELS[found.index(max(found))])
    told = []
    answers = choose_labels(model, asked(6), LABELS, told.append)
    assert [answer.text for answer in answers] == expected
    assert all(answer.stopped for answer in answers)
    assert told[-1] == 18


def test_prompts_that_do_not_fit_are_refused(llama, monkeypatch):
    long = make_example((Message("user", "x" * 300), Message("assistant", "no")))
    model = tiny.language_model(llama)
    cut = Likelihood(0.0, False, cut=1)
    monkeypatch.setattr("fairtune.evaluate.label_choice.score_continuations", lambda model, asked, done: [cut] * 3)
    with pytest.raises(DataError, match="longer than the model's context"):
        choose_labels(model, [long], LABELS)
