"""The step, the optimizer and LoRA against a few lines written from the papers."""

import math

import pytest
import torch
from transformers import AutoModelForCausalLM

from fairtune.data import encode_all, to_examples, windows
from fairtune.models.likelihood import item_losses
from fairtune.study import Prompt, Training
from fairtune.train.loop import mean_loss, train
from fairtune.train.optimizer import MasterAdamW
from fairtune.train.schedule import learning_rate_at
from tests import tiny


def plain_loss(network, item):
    """Summed loss of one example, from full logits, with nothing clever."""
    tokens = torch.tensor([item.tokens])
    log_p = torch.log_softmax(network(input_ids=tokens).logits[0].float(), dim=-1)
    return -sum(log_p[t - 1, item.tokens[t]] for t in range(1, len(item.tokens)) if item.supervised[t])


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_item_losses_are_those_of_plain_full_logits(kind, request):
    folder = request.getfixturevalue(kind)
    items = tiny.encoded(12)
    network = AutoModelForCausalLM.from_pretrained(folder).eval()
    with torch.no_grad():
        theirs = [float(plain_loss(network, item)) for item in items]
    ours = item_losses(tiny.language_model(folder), items)
    assert [item.loss for item in ours] == pytest.approx(theirs, abs=1e-3, rel=1e-5)
    assert [item.tokens for item in ours] == [sum(item.supervised) for item in items]


def test_a_run_of_updates_is_that_of_a_loop_of_a_few_lines(llama, tmp_path):
    items = tiny.encoded(10)
    recipe = Training(epochs=2, batch_size=4, learning_rate=1e-2, weight_decay=0.1, warmup=0.2, max_grad_norm=0.5)
    model = tiny.language_model(llama)
    curve = []
    train(tiny.attach(model, "full"), items, items, recipe, 3, tmp_path / "best", curve.append)

    network = AutoModelForCausalLM.from_pretrained(llama)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.1, foreach=False)
    from fairtune.data import updates

    losses = []
    for epoch in range(2):
        for rows in updates(10, 4, 3, epoch):
            batch = [items[row] for row in rows]
            loss = sum(plain_loss(network, item) for item in batch) / sum(sum(item.supervised) for item in batch)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 0.5)
            optimizer.param_groups[0]["lr"] = learning_rate_at(len(losses), 6, recipe)
            optimizer.step()
            optimizer.zero_grad()
            losses.append(float(loss.detach()))
    assert [update.loss for update in curve] == pytest.approx(losses, rel=1e-4)


def test_lora_computes_what_its_paper_says(llama):
    model = tiny.language_model(llama)
    plain = AutoModelForCausalLM.from_pretrained(llama).eval()
    tiny.attach(model, "lora", {"rank": 4, "alpha": 6, "targets": ["q_proj"]})
    state = dict(model.network.named_parameters())
    torch.manual_seed(1)
    with torch.no_grad():
        for name, weight in state.items():
            if "lora_" in name:
                weight.normal_(std=0.1)
        for index, layer in enumerate(plain.model.layers):  # W0 + (alpha / rank) B A, equation 3
            a, b = (
                state[f"base_model.model.model.layers.{index}.self_attn.q_proj.lora_{n}.default.weight"] for n in "AB"
            )
            layer.self_attn.q_proj.weight += 6 / 4 * b @ a
        tokens = torch.tensor([tiny.encoded(1)[0].tokens])
        ours, theirs = model.network(input_ids=tokens).logits, plain(input_ids=tokens).logits
    assert torch.allclose(ours, theirs, atol=1e-4)


def test_trainable_lora_weights_are_rank_times_in_plus_out(llama):
    model = tiny.language_model(llama)
    tiny.attach(model, "lora", {"rank": 4, "targets": ["q_proj", "v_proj"]})
    trainable = sum(p.numel() for p in model.network.parameters() if p.requires_grad)
    assert trainable == 2 * (4 * (32 + 32) + 4 * (32 + 16))


def test_master_weights_keep_updates_that_bf16_would_swallow():
    coarse = torch.nn.Parameter(torch.ones(4, dtype=torch.bfloat16))
    fine = torch.nn.Parameter(torch.ones(4))
    optimizers = [MasterAdamW([(p, 1.0)], Training(learning_rate=1e-4)) for p in (coarse, fine)]
    for _ in range(60):
        for parameter, optimizer in zip((coarse, fine), optimizers, strict=True):
            (parameter.float().sum()).backward()
            optimizer.step(1e-4)
            optimizer.clear()
    assert torch.equal(coarse.detach(), fine.detach().bfloat16())
    assert float(coarse[0].detach()) < 1.0
    plain = torch.nn.Parameter(torch.ones(4, dtype=torch.bfloat16))
    swallowing = torch.optim.AdamW([plain], lr=1e-4, weight_decay=0)
    for _ in range(60):
        plain.float().sum().backward()
        swallowing.step()
        swallowing.zero_grad()
    assert float(plain[0].detach()) == 1.0


def test_schedules_follow_their_closed_forms():
    recipe = Training(learning_rate=1.0, warmup=0.2)
    rates = [learning_rate_at(update, 10, recipe) for update in range(10)]
    assert rates[:3] == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert rates[6] == pytest.approx(0.5 * (1 + math.cos(math.pi * 4 / 8)))
    linear = recipe.model_copy(update={"schedule": "linear", "warmup": 0.0})
    assert [learning_rate_at(update, 4, linear) for update in range(4)] == [1.0, 0.75, 0.5, 0.25]
    constant = recipe.model_copy(update={"schedule": "constant", "warmup": 0.0})
    assert learning_rate_at(9, 10, constant) == 1.0


def test_the_mean_loss_weighs_every_token_the_same(llama):
    model, items = tiny.language_model(llama), tiny.encoded(7)
    scored = item_losses(model, items)
    assert mean_loss(model, items) == pytest.approx(sum(s.loss for s in scored) / sum(s.tokens for s in scored))


def test_overlapping_windows_are_scored_as_a_loop_over_tokens_scores_them(gpt2):
    model, network = tiny.language_model(gpt2), AutoModelForCausalLM.from_pretrained(gpt2).eval()
    (document,) = to_examples([tiny.row({"text": tiny.text(150)})], None, Prompt())
    whole = encode_all([document], model.tokenizer)
    window, stride = 32, 8
    ours = item_losses(model, list(windows(whole, window + 1, model.tokenizer.decode, stride)))
    theirs, tokens = 0.0, whole[0].tokens
    for place in range(1, len(tokens)):
        late = max(0, place - window)
        begin = -(-late // stride) * stride  # the first window that holds it begins at a multiple of the stride
        with torch.no_grad():
            log_p = network(input_ids=torch.tensor([tokens[begin:place]])).logits[0, -1].log_softmax(-1)
        theirs -= float(log_p[tokens[place]])
    assert sum(item.loss for item in ours) == pytest.approx(theirs, rel=1e-5)
    assert sum(item.tokens for item in ours) == len(tokens) - 1
