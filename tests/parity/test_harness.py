"""Our model on lm-eval's interface, held against lm-eval's own Hugging Face model."""

from __future__ import annotations

import itertools
import random
import string

import pytest
import torch

from fairtune.evaluate.harness.encoding import Encoder
from tests import tiny
from tests.families import FAMILIES, family

WORDS = ["Question: uno", "dos", "The answer is", "tres,", "\n\nAnswer:", "ab", "12 34", "  ", "é", "\n"]


def instances(kind, arguments):
    from lm_eval.api.instance import Instance

    return [Instance(kind, {}, each, 0, metadata=("made up", row, 1)) for row, each in enumerate(arguments)]


@pytest.fixture(params=["llama", "gpt2", "gemma3"])
def both(request):
    """Ours and lm-eval's, over the same weights, reading 96 tokens at most."""
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoModelForCausalLM

    from fairtune.evaluate.harness.model import HarnessModel

    folder = request.getfixturevalue(request.param)
    ours = tiny.language_model(folder, attention_length=96)
    network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    theirs = HFLM(pretrained=network, tokenizer=ours.tokenizer, max_length=96, batch_size=1, device="cpu")
    return HarnessModel(ours, max_length=96), theirs


def text(draw, length):
    return " ".join(draw.choices(WORDS, k=length))


def test_log_likelihoods_and_greedy_flags_are_those_of_lm_eval(both):
    ours, theirs = both
    draw = random.Random(0)
    asked = [(text(draw, length), f"{draw.choice(['', ' '])}{text(draw, 2)}") for length in (1, 2, 5, 9, 40)]
    shared = text(draw, 8)
    asked += [(shared, f" {choice}") for choice in "ABCD"] + [(shared + " ", choice) for choice in "AB"]
    asked += [("", "uno dos"), ("", "<|im_end|> uno"), ("<|im_start|>user\nuno<|im_end|>\n", "dos")]
    asked.append(asked[0])
    # What the model itself would say is what the greedy flag is for.
    written = theirs.generate_until(instances("generate_until", [(shared, {"until": [], "max_gen_toks": 3})]))[0]
    asked.append((shared, written))
    found = ours.loglikelihood(instances("loglikelihood", asked))
    expected = theirs.loglikelihood(instances("loglikelihood", asked), disable_tqdm=True)
    assert [flag for _, flag in found] == [flag for _, flag in expected]
    assert [value for value, _ in found] == pytest.approx([value for value, _ in expected], abs=1e-3)
    assert found[-2] == found[0]
    assert ours.cuts.requests["made up"] == 1


def test_whole_texts_are_scored_in_the_windows_of_lm_eval(both):
    ours, theirs = both
    draw = random.Random(1)
    asked = [(text(draw, length),) for length in (1, 9, 70)]
    found = ours.loglikelihood_rolling(instances("loglikelihood_rolling", asked))
    expected = theirs.loglikelihood_rolling(instances("loglikelihood_rolling", asked), disable_tqdm=True)
    assert found == pytest.approx(expected, abs=1e-3)


def test_answers_are_those_of_lm_eval(both):
    ours, theirs = both
    draw = random.Random(2)
    short, long = {"until": ["b", "\n"], "max_gen_toks": 8}, {"until": "7", "max_gen_toks": 20, "do_sample": False}
    asked = [(text(draw, length), draw.choice([short, long])) for length in (1, 4, 5, 9, 40)]
    found = ours.generate_until(instances("generate_until", asked))
    assert found == theirs.generate_until(instances("generate_until", asked), disable_tqdm=True)
    assert len(set(found)) > 2
    assert ours.cuts.requests["made up"] == 1


def test_messages_are_written_as_lm_eval_writes_them(llama):
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoModelForCausalLM

    from fairtune.evaluate.harness.model import HarnessModel

    ours = HarnessModel(tiny.language_model(llama))
    network = AutoModelForCausalLM.from_pretrained(llama)
    theirs = HFLM(pretrained=network, tokenizer=ours.tokenizer, device="cpu")
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "uno?"}]
    for messages, prompt in ((turns, True), ([*turns, {"role": "assistant", "content": "dos"}], False)):
        assert ours.apply_chat_template(messages, prompt) == theirs.apply_chat_template(messages, prompt)
    # A template that knows no system messages is given the others.
    ours.tokenizer.chat_template = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no') }}{% endif %}" + tiny.CHAT_TEMPLATE
    )
    assert ours.apply_chat_template(turns) == theirs.apply_chat_template(turns) == ours.apply_chat_template(turns[1:])
    assert (ours.max_length, ours.prefix_token_id) == (theirs.max_length, theirs.prefix_token_id)


def tokenizers():
    from tokenizers import Regex, pre_tokenizers

    made = {name: family(name) for name in FAMILIES}
    for index, pattern in enumerate(_patterns()):
        made[f"pattern {index}"] = trained(
            pre_tokenizers.Sequence(
                [
                    pre_tokenizers.Split(Regex(pattern), "isolated"),
                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
                ]
            )
        )
    made["digits"] = trained(
        pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
    )
    made["metaspace"] = trained(pre_tokenizers.Metaspace())
    return made


def _patterns():
    from fairtune.evaluate.harness.encoding import _PATTERNS

    return _PATTERNS


def trained(pre_tokenizer):
    """A tokenizer with many merges, learned from random text, so that a word cut in two shows."""
    from tokenizers import Tokenizer, models, trainers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizer
    trainer = trainers.BpeTrainer(vocab_size=900, special_tokens=["<s>", "</s>"], show_progress=False)
    inner.train_from_iterator((messy(random.Random(seed), 300) for seed in range(40)), trainer)
    return PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", eos_token="</s>")


def messy(draw, length):
    """Letters, digits, marks and white space of all kinds, close together."""
    signs = string.ascii_letters[:6] + "19'.,:-!  \n\n\r\té́sß"
    return "".join(draw.choices(signs, k=length))


def test_texts_in_pieces_have_the_tokens_of_whole_texts():
    by_words = []
    for name, tokenizer in tokenizers().items():
        encoder = Encoder(tokenizer)
        texts = [messy(random.Random(seed), 80) for seed in range(150)] + ["a<s>b\n<s>", "", "\n"]
        by_words += [name] if encoder.by_words else []
        assert encoder.encode(texts, [None] * len(texts)) == [tuple(tokenizer.encode(each)) for each in texts], name
        for first, second in itertools.pairwise(texts):
            if encoder.splits_before(first, second := f" {second.lstrip()}"):
                apart = [*tokenizer.encode(first), *tokenizer.encode(second, add_special_tokens=False)]
                assert apart == tokenizer.encode(first + second), (name, first, second)
    assert by_words == ["pattern 0", "pattern 1", "pattern 2", "digits"]
