"""Which networks are given many texts in one row is tried, and those that would score otherwise are not."""

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    DeepseekV3Config,
    Gemma2Config,
    MistralConfig,
    OPTConfig,
    PhimoeConfig,
    Qwen2Config,
)

from fairtune.models.likelihood import item_losses
from fairtune.models.load import ready
from fairtune.models.packable import drops
from fairtune.models.rows import Batching
from tests import tiny

SMALL = {
    "vocab_size": 260,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "pad_token_id": 2,
}
EXPERTS = {"num_local_experts": 2, "num_experts_per_tok": 1}
DEEPSEEK = {
    "n_routed_experts": 4,
    "n_group": 1,
    "topk_group": 1,
    "num_experts_per_tok": 2,
    "kv_lora_rank": 8,
    "q_lora_rank": 8,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 16,
    "v_head_dim": 16,
    "moe_intermediate_size": 16,
}
# What becomes of each: packed, and without logits.
KINDS = {
    "mistral with a window": (MistralConfig(**SMALL, sliding_window=10), True, True),
    "qwen2 with biases": (Qwen2Config(**SMALL), True, True),
    "opt, which drops without a module": (OPTConfig(**{**SMALL, "word_embed_proj_dim": 32, "ffn_dim": 48}), True, True),
    "gemma2, which caps logits": (Gemma2Config(**SMALL, head_dim=8), False, False),
    "phimoe, whose window is in its mask": (PhimoeConfig(**SMALL, **EXPERTS, sliding_window=10), False, True),
    "deepseek, whose values are narrow": (
        DeepseekV3Config(**{**SMALL, "num_key_value_heads": 4, **DEEPSEEK}),
        False,
        True,
    ),
}


def model_of(config):
    torch.manual_seed(0)
    network = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    return ready(network, tiny.tokenizer(), "fp32", torch.device("cpu"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_is_packed_where_that_changes_nothing(kind):
    config, packed, fused = KINDS[kind]
    model = model_of(config)
    assert (model.batching.packed, model.batching.fused) == (packed, fused)
    items = tiny.encoded(6)
    found = [item.loss for item in item_losses(model, items)]
    model.batching = Batching(packed=False, fused=False)
    assert found == pytest.approx([item.loss for item in item_losses(model, items)], rel=1e-5)


def test_dropout_is_seen_where_no_module_drops():
    assert drops(model_of(OPTConfig(**{**SMALL, "word_embed_proj_dim": 32, "ffn_dim": 48, "dropout": 0.1})))
    assert not drops(model_of(Qwen2Config(**SMALL)))
