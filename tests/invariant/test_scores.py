"""A score must not depend on batch size, padding side, order, or the company an item is in."""

import random
from dataclasses import replace

import pytest
import torch

from fairtune.evaluate.generation import generate
from fairtune.models.likelihood import item_losses, supervised_logits, supervised_losses
from fairtune.models.rows import Batching
from tests import tiny


def losses(model, items):
    return [item.loss for item in item_losses(model, items)]


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize("budget", [1, 100, 10_000])
@pytest.mark.parametrize("packed", [True, False])
def test_likelihoods_do_not_depend_on_the_batch(kind, budget, packed, request):
    model = tiny.language_model(request.getfixturevalue(kind))
    items = tiny.encoded(20)
    alone = [losses(model, [item])[0] for item in items]
    model.batching = Batching(budget, packed)
    assert losses(model, items) == pytest.approx(alone, rel=1e-5)


def test_likelihoods_do_not_depend_on_the_order(llama):
    model, items = tiny.language_model(llama), tiny.encoded(20)
    order = list(range(20))
    random.Random(0).shuffle(order)
    shuffled = losses(model, [items[index] for index in order])
    assert shuffled == pytest.approx([losses(model, items)[index] for index in order], rel=1e-5)


def test_likelihoods_do_not_depend_on_the_padding_side(llama):
    model, items = tiny.language_model(llama), tiny.encoded(6)
    longest = max(len(item.tokens) for item in items)
    for item in items:
        pad = longest - len(item.tokens)
        tokens = torch.tensor([[2] * pad + list(item.tokens)])
        mask = torch.tensor([[0] * pad + [1] * len(item.tokens)])
        with torch.no_grad():
            logits = model.network(
                input_ids=tokens, attention_mask=mask, position_ids=(mask.cumsum(-1) - 1).clamp(min=0)
            ).logits
        log_p = torch.log_softmax(logits[0], -1)[pad:]
        left = -sum(float(log_p[t - 1, item.tokens[t]]) for t in range(1, len(item.tokens)) if item.supervised[t])
        assert losses(model, [item])[0] == pytest.approx(left, rel=1e-4)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_answers_do_not_depend_on_batch_size_order_or_company(kind, request):
    model = tiny.language_model(request.getfixturevalue(kind))
    items = tiny.encoded(24)
    alone = [generate(model, [item], 12)[0] for item in items]
    assert len({answer.text for answer in alone}) > 5
    for rows in (2, 7, 64):
        assert generate(model, items, 12, rows=rows) == alone
    assert generate(model, items[::-1], 12) == alone[::-1]


def test_answers_are_those_of_a_greedy_loop_of_a_few_lines(llama):
    model = tiny.language_model(llama)
    for item, answer in zip(tiny.encoded(5), generate(model, tiny.encoded(5), 8), strict=True):
        tokens = list(item.prompt)
        with torch.no_grad():
            while len(tokens) < len(item.prompt) + 8 and tokens[-1] not in model.stops:
                tokens.append(int(model.network(input_ids=torch.tensor([tokens])).logits[0, -1].argmax()))
        new = tokens[len(item.prompt) :]
        assert answer.stopped == (new[-1] in model.stops)
        assert answer.text == model.tokenizer.decode(new, skip_special_tokens=True).strip()
        assert answer.tokens == len(new) - answer.stopped


def test_merging_changes_no_score_and_leaves_the_base_as_it_was(llama):
    model, items = tiny.language_model(llama), tiny.encoded(10)
    tuned = tiny.attach(model, "lora", {"rank": 4})
    torch.manual_seed(0)
    with torch.no_grad():
        for name, weight in model.network.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.2)
    unmerged = losses(model, items)
    with tuned.scoring():
        assert losses(model, items) == pytest.approx(unmerged, rel=1e-4)
    assert losses(model, items) == pytest.approx(unmerged, rel=1e-4)


@pytest.mark.parametrize("precision", ["bf16", "bf16_mixed", "fp16_mixed"])
def test_where_products_are_not_fp32_scores_are_unmerged_since_merging_would_round_updates_away(llama, precision):
    model, items = tiny.language_model(llama, precision), tiny.encoded(10)
    tuned = tiny.attach(model, "lora", {"rank": 4})
    before = losses(model, items)
    with tuned.scoring():
        assert losses(model, items) == before
        assert not any(getattr(layer, "merged", False) for layer in model.network.modules())


def test_logits_are_computed_only_where_a_supervised_token_is_predicted(llama):
    model, items = tiny.language_model(llama), tiny.encoded(5)
    seen = []
    model.network.get_output_embeddings().register_forward_hook(lambda layer, inputs, output: seen.append(output.shape))
    with torch.no_grad():
        supervised_logits(model, items)
        supervised_losses(model, items)
    # For losses alone, a few rows at a time, outside the network: the layer itself is asked for nothing.
    assert seen == [(sum(item.answer_tokens for item in items), 260), (0, 260)]


def test_greedy_is_greedy_whatever_the_models_makers_prefer(llama, tmp_path):
    import json
    import shutil

    shutil.copytree(llama, tmp_path / "model")
    preferred = {"repetition_penalty": 5.0, "no_repeat_ngram_size": 1, "temperature": 3.0, "do_sample": True}
    (tmp_path / "model" / "generation_config.json").write_text(json.dumps(preferred))
    items = tiny.encoded(6)
    model = tiny.language_model(tmp_path / "model")
    assert generate(model, items, 12) == generate(tiny.language_model(llama), items, 12)
    tiny.attach(model, "full").save(tmp_path / "saved")
    assert json.loads((tmp_path / "saved" / "generation_config.json").read_text())["repetition_penalty"] == 5.0


def test_an_adapter_on_the_output_layer_sees_what_the_gate_lets_through(llama):
    model, items = tiny.language_model(llama), tiny.encoded(5)
    before = losses(model, items)
    tiny.attach(model, "lora", {"rank": 2, "targets": ["lm_head"]})
    assert losses(model, items) == pytest.approx(before, rel=1e-6)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma3"])
@pytest.mark.parametrize("packed", [True, False])
def test_right_tokens_are_those_of_all_logits_and_counting_them_changes_no_loss(kind, packed, request):
    model = tiny.language_model(request.getfixturevalue(kind))
    items = [right_at_first(model, item) if row % 2 else item for row, item in enumerate(tiny.encoded(12))]
    for fused in (True, False):
        model.batching = Batching(100, packed, fused=fused)
        counted = item_losses(model, items, hits=True)
        assert [item.loss for item in counted] == losses(model, items)
        assert {item.hits for item in item_losses(model, items)} == {None}
        for item, found in zip(items, counted, strict=True):
            with torch.no_grad():
                logits, answers, _ = supervised_logits(model, [item])
            assert found.hits == int((logits.argmax(-1) == answers).sum())
        assert 6 <= sum(item.hits for item in counted) < sum(item.tokens for item in counted)


def right_at_first(model, item):
    """The item with the first token of its answer the one that the model takes for likeliest."""
    with torch.no_grad():
        logits, _, _ = supervised_logits(model, [item])
    place = item.prompt_length
    return replace(item, tokens=(*item.tokens[:place], int(logits[0].argmax()), *item.tokens[place + 1 :]))
