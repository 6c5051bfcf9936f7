"""Methods against a few lines written from their papers' equations."""

import math

import pytest
import torch

from fairtune.methods import METHODS
from tests import tiny


def scrambled(tuned, *names):
    """Trained parameters of these names become random: a start at zero would show nothing."""
    torch.manual_seed(1)
    with torch.no_grad():
        for name, weight in tuned.model.network.named_parameters():
            if any(part in name for part in names):
                weight.add_(torch.randn_like(weight), alpha=0.1)
    return dict(tuned.model.network.named_parameters())


@torch.no_grad()
def logits(network):
    return network(input_ids=torch.tensor([tiny.encoded(1)[0].tokens])).logits


def test_dora_is_magnitude_times_direction(llama):
    tuned, plain = tiny.tuned(llama, "dora", {"rank": 4, "alpha": 6, "targets": ["q_proj"]}), tiny.language_model(llama)
    state = scrambled(tuned, "lora_")
    for index, layer in enumerate(plain.network.model.layers):
        key = f"base_model.model.model.layers.{index}.self_attn.q_proj"
        a, b = (state[f"{key}.lora_{n}.default.weight"] for n in "AB")
        m = state[f"{key}.lora_magnitude_vector.default.weight"]
        with torch.no_grad():  # equation 5: m V' / ||V'||, V' = W0 + (alpha / rank) B A, the norm of each output's row
            moved = layer.self_attn.q_proj.weight + 6 / 4 * b @ a
            layer.self_attn.q_proj.weight.copy_(m[:, None] * moved / moved.norm(dim=1, keepdim=True))
    assert torch.allclose(logits(tuned.model.network), logits(plain.network), atol=1e-4)


def test_rslora_scales_by_the_root_of_the_rank(llama):
    options = {"rank": 4, "alpha": 6, "targets": ["v_proj"], "rslora": True}
    tuned, plain = tiny.tuned(llama, "lora", options), tiny.language_model(llama)
    state = scrambled(tuned, "lora_")
    for index, layer in enumerate(plain.network.model.layers):
        key = f"base_model.model.model.layers.{index}.self_attn.v_proj"
        a, b = (state[f"{key}.lora_{n}.default.weight"] for n in "AB")
        with torch.no_grad():
            layer.self_attn.v_proj.weight += 6 / math.sqrt(4) * b @ a
    assert torch.allclose(logits(tuned.model.network), logits(plain.network), atol=1e-4)


def test_pissa_begins_with_the_largest_singular_directions(llama):
    tuned, plain = tiny.tuned(llama, "lora", {"rank": 4, "alpha": 4, "init": "pissa"}), tiny.language_model(llama)
    state = dict(tuned.model.network.named_parameters())
    key = "base_model.model.model.layers.0.mlp.up_proj"
    product = state[f"{key}.lora_B.default.weight"] @ state[f"{key}.lora_A.default.weight"]
    weight = plain.network.model.layers[0].mlp.up_proj.weight
    u, s, v = torch.linalg.svd(weight)
    assert torch.allclose(product, u[:, :4] @ torch.diag(s[:4]) @ v[:4], atol=1e-4)
    assert torch.allclose(state[f"{key}.base_layer.weight"] + product, weight, atol=1e-5)


def test_prefix_tuning_attends_to_keys_and_values_that_stand_before_the_text(llama):
    tuned = tiny.tuned(llama, "prefix", {"num_virtual_tokens": 3, "initial_scale": 0.5})
    plain = tiny.language_model(llama)
    config = plain.network.config
    heads, width = config.num_key_value_heads, config.hidden_size // config.num_attention_heads
    flat = tuned.model.network.prompt_encoder["default"].embedding.weight.detach()
    prefix = flat.view(3, config.num_hidden_layers, 2, heads, width)  # token, layer, key or value, head, width
    # Equation 3: in each layer attention runs over [P_k; K] and [P_v; V]. Written as a hand-made attention.
    for index, layer in enumerate(plain.network.model.layers):
        layer.self_attn.forward = by_hand(layer.self_attn, prefix[:, index, 0], prefix[:, index, 1], plain.network)
    assert torch.allclose(logits(tuned.model.network), logits(plain.network), atol=1e-4)


def by_hand(attention, prefix_keys, prefix_values, network):
    """Causal attention over a prefix and the text, for one row, in plain steps. Text begins at position 3."""
    width = attention.head_dim

    def forward(hidden_states, **ignored):
        length = hidden_states.shape[1]
        cos, sin = network.model.rotary_emb(hidden_states, torch.arange(3, 3 + length)[None])

        def turned(x):  # rotary positions: (x1, x2) -> (x1 cos - x2 sin, x2 cos + x1 sin)
            first, second = x.chunk(2, dim=-1)
            return x * cos[0][:, None] + torch.cat([-second, first], dim=-1) * sin[0][:, None]

        q = turned(attention.q_proj(hidden_states)[0].view(length, -1, width))
        k = torch.cat([prefix_keys, turned(attention.k_proj(hidden_states)[0].view(length, -1, width))])
        v = torch.cat([prefix_values, attention.v_proj(hidden_states)[0].view(length, -1, width)])
        out = []
        for head in range(q.shape[1]):
            group = head * k.shape[1] // q.shape[1]
            scores = q[:, head] @ k[:, group].T / math.sqrt(width)
            hidden_later = torch.ones(length, 3 + length).triu(4).bool()
            out.append(scores.masked_fill(hidden_later, -torch.inf).softmax(-1) @ v[:, group])
        return attention.o_proj(torch.stack(out, dim=1).reshape(1, length, -1)), None

    return forward


def test_nf4_is_the_nearest_of_sixteen_quantiles_of_a_normal_distribution():
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    torch.manual_seed(0)
    weights = torch.randn(64, 128)
    found = dequantize_4bit(*quantize_4bit(weights, blocksize=64, quant_type="nf4"))
    levels = nf4_levels()
    blocks = weights.reshape(-1, 64)
    largest = blocks.abs().amax(dim=1, keepdim=True)
    nearest = (blocks / largest)[..., None].sub(levels).abs().argmin(-1)
    expected = (levels[nearest] * largest).view_as(weights)
    # A weight half-way between two levels may go either way in another order of rounding.
    assert (found - expected).abs().gt(1e-3).float().mean() < 1e-3


def nf4_levels():
    """Dettmers et al. 2023, equation 4: averages of neighbouring quantiles, 8 above zero, 7 below, and zero itself.

    The quantiles of a normal distribution go out to 0.9677083 (appendix E's offset), and are scaled to [-1, 1].
    """
    normal = torch.distributions.Normal(0.0, 1.0)
    offset = 0.9677083
    above = normal.icdf(torch.linspace(offset, 0.5, 9)[:-1])
    below = -normal.icdf(torch.linspace(offset, 0.5, 8)[:-1])
    levels = torch.cat([above, torch.zeros(1), below]).sort().values
    return levels / levels.abs().max()


def test_qlora_computes_lora_over_the_quantised_weights(llama):
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    options = {"rank": 4, "alpha": 6, "double_quantization": False}
    tuned, plain = tiny.tuned(llama, "qlora", options), tiny.language_model(llama)
    state = scrambled(tuned, "lora_")
    with torch.no_grad():  # equation 5: Y = X dequant(W) + (alpha / rank) X A B
        for name, layer in plain.network.model.layers.named_modules():
            if isinstance(layer, torch.nn.Linear):
                key = f"base_model.model.model.layers.{name}"
                a, b = (state[f"{key}.lora_{n}.default.weight"] for n in "AB")
                stored = dequantize_4bit(*quantize_4bit(layer.weight, blocksize=64, quant_type="nf4"))
                layer.weight.copy_(stored + 6 / 4 * b @ a)
    assert torch.allclose(logits(tuned.model.network), logits(plain.network), atol=1e-3)


def test_a_bottleneck_is_a_narrow_network_behind_each_sublayer(llama):
    tuned, plain = tiny.tuned(llama, "adapter", {"bottleneck": 4, "activation": "relu"}), tiny.language_model(llama)
    state = scrambled(tuned, ".bottleneck.")

    def behind(key):  # section 2.1: h + W_up f(W_down h)
        def hook(module, inputs, output):
            h = output[0] if isinstance(output, tuple) else output
            down = torch.relu(h @ state[f"{key}.0.weight"].T + state[f"{key}.0.bias"])
            changed = h + down @ state[f"{key}.2.weight"].T + state[f"{key}.2.bias"]
            return (changed, *output[1:]) if isinstance(output, tuple) else changed

        return hook

    for index, layer in enumerate(plain.network.model.layers):
        for part in ("self_attn", "mlp"):
            getattr(layer, part).register_forward_hook(behind(f"model.layers.{index}.{part}.bottleneck"))
    assert torch.allclose(logits(tuned.model.network), logits(plain.network), atol=1e-4)


def test_lora_plus_moves_b_by_the_ratio(llama, tmp_path):
    from fairtune.train.optimizer import MasterAdamW
    from tests.contract.cases import RECIPE

    tuned = tiny.tuned(llama, "lora", {"rank": 4, "targets": ["q_proj"], "learning_rate_ratio": 16})
    trainable = [(name, p) for name, p in tuned.model.network.named_parameters() if p.requires_grad]
    before = {name: p.detach().clone() for name, p in trainable}
    optimizer = MasterAdamW([(p, tuned.rate_factor(name)) for name, p in trainable], RECIPE)
    for _, parameter in trainable:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step(1e-3)
    moved = {name: float((p.detach() - before[name]).abs().max()) for name, p in trainable}
    for name, distance in moved.items():  # Adam's first step is the learning rate itself
        assert distance == pytest.approx(16e-3 if "lora_B" in name else 1e-3, rel=1e-3), name


@pytest.mark.parametrize("optimizer", ["adamw_8bit"])
def test_an_8bit_optimizer_follows_the_exact_one(llama, tmp_path, optimizer):
    from fairtune.train.loop import train
    from tests.contract.cases import RECIPE

    losses = {}
    for name in ("adamw", optimizer):
        curve = []
        recipe = RECIPE.model_copy(update={"optimizer": name, "epochs": 2, "learning_rate": 1e-3})
        train(tiny.tuned(llama, "full"), tiny.encoded(12), tiny.encoded(3), recipe, 0, tmp_path / name, curve.append)
        losses[name] = [update.loss for update in curve]
    assert losses[optimizer] == pytest.approx(losses["adamw"], rel=0.02)
    assert losses[optimizer] != losses["adamw"]


def test_adalora_leaves_the_rank_it_was_asked_for(llama, tmp_path):
    from fairtune.train.loop import train
    from tests.contract.cases import RECIPE

    model = tiny.language_model(llama)
    options = {"rank": 2, "initial_rank": 4, "targets": "attention"}
    tuned = tiny.attach(model, "adalora", options, updates=12)
    recipe = RECIPE.model_copy(update={"epochs": 4})
    train(tuned, tiny.encoded(12), tiny.encoded(3), recipe, 0, tmp_path / "best", lambda update: None)
    values = [weight for name, weight in model.network.named_parameters() if "lora_E" in name]
    assert len(values) == 8
    assert sum(int((weight != 0).sum()) for weight in values) == 2 * len(values)


def test_prompt_tuning_can_begin_as_words(llama):
    tuned = tiny.tuned(llama, "prompt", {"num_virtual_tokens": 5, "text": "abc"})
    ids = tuned.model.tokenizer("abc", add_special_tokens=False)["input_ids"]
    words = tuned.model.network.get_input_embeddings().weight[(ids * 5)[:5]]
    assert torch.equal(tuned.model.network.prompt_encoder["default"].embedding.weight, words)
    assert METHODS["prompt"].formula


def test_adalora_saves_the_ranks_of_the_epoch_that_is_kept(llama, tmp_path):
    """Validation chooses an epoch before the pruning here: the later pattern must not cut its weights."""
    from fairtune.train.loop import train
    from tests.contract.cases import RECIPE, logits

    options = {"rank": 1, "initial_rank": 4}
    tuned = tiny.attach(tiny.language_model(llama), "adalora", options, updates=18)
    recipe = RECIPE.model_copy(update={"epochs": 6, "learning_rate": 0.1})
    result = train(tuned, tiny.encoded(12), tiny.encoded(3, seed=9), recipe, 0, tmp_path / "best", lambda update: None)
    assert result.best_epoch is not None
    assert result.best_epoch < 5
    tuned.save(tmp_path / "saved")
    again = METHODS["adalora"].restore(tiny.language_model(llama), options, tmp_path / "saved")
    assert torch.allclose(logits(again.model), logits(tuned.model), atol=1e-4)
