"""A model made anew: its tokenizer from the training text, its weights from the seed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, PreTrainedTokenizerFast

from fairtune.models.device import written_out_attention
from fairtune.models.load import LanguageModel, load_tokenizer, ready
from fairtune.models.precision import WEIGHTS
from fairtune.models.sources.scratch import CHARACTERS
from fairtune.study import Precision, Scratch

END, UNKNOWN = "<|endoftext|>", "<|unknown|>"
# A gated feed-forward layer has three matrices where others have two, so it is a third narrower than 4 · hidden
# (Shazeer 2020, "GLU Variants Improve Transformer", section 3); rounded up, since processors like multiples of 8.
_FEED_FORWARD, _ROUND_TO = 8 / 3, 8


def make_tokenizer(shape: Scratch, texts: Iterable[str]) -> Any:
    """The tokenizer of a folder, or one made from the characters of ``texts``.

    Raises:
        ModelError: the folder's tokenizer is not readable.
    """
    if shape.tokenizer == CHARACTERS:
        return character_tokenizer(texts)
    return load_tokenizer(Path(shape.tokenizer), trust_remote_code=False)


def character_tokenizer(texts: Iterable[str]) -> Any:
    """One token a Unicode character, in the order of their code points; an end token; one for what was never seen."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted({character for text in texts for character in text})
    special = [END, UNKNOWN]
    vocabulary = {token: index for index, token in enumerate([*special, *alphabet])}
    inner = Tokenizer(models.WordLevel(vocab=vocabulary, unk_token=UNKNOWN))
    inner.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    inner.decoder = decoders.Fuse()
    inner.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token=END, pad_token=END, unk_token=UNKNOWN)


def make_config(shape: Scratch, tokenizer: Any) -> Any:
    """transformers' configuration: input and output embeddings are one matrix, and nothing is dropped out."""
    common = {
        "vocab_size": len(tokenizer),
        "tie_word_embeddings": True,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    return {"gpt2": _gpt2, "llama": _llama}[shape.architecture](shape, common)


def _gpt2(shape: Scratch, common: dict[str, Any]) -> Any:
    return GPT2Config(
        n_positions=shape.context,
        n_embd=shape.hidden,
        n_layer=shape.layers,
        n_head=shape.heads,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        **common,
    )


def _llama(shape: Scratch, common: dict[str, Any]) -> Any:
    return LlamaConfig(
        hidden_size=shape.hidden,
        intermediate_size=-(-int(_FEED_FORWARD * shape.hidden) // _ROUND_TO) * _ROUND_TO,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        max_position_embeddings=shape.context,
        **common,
    )


def make_model(
    shape: Scratch, tokenizer: Any, precision: Precision, device: torch.device, longest: int, seed: int
) -> LanguageModel:
    """Random weights, as transformers initialises the architecture, in evaluation mode, on the device.

    They depend on the seed and the shape alone: drawn on the CPU in fp32, then rounded to the run's precision.

    Args:
        longest: tokens of the longest example of the study; decides how attention is computed.
    """
    torch.manual_seed(seed)
    config = make_config(shape, tokenizer)
    attention = written_out_attention(device, min(longest, shape.context))
    network = AutoModelForCausalLM.from_config(config, dtype=torch.float32, **attention)
    return ready(network.to(WEIGHTS[precision]), tokenizer, precision, device)
