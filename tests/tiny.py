"""Tiny random models and tokenizers, made in memory, so that real code runs in milliseconds."""

from __future__ import annotations

import functools
import json
import random
from pathlib import Path
from typing import Any

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tokenizer(chat: bool = True) -> Any:
    """One token a byte, one for "ab", three special ones; the end token is the padding token, as in many models."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*special, *alphabet, "ab"])}
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=[("a", "b")]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens([AddedToken(token, special=True) for token in special])
    end = "<|im_end|>" if chat else "<|endoftext|>"
    made = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token=end, pad_token=end)
    if chat:
        made.chat_template = CHAT_TEMPLATE
    return made


def config(kind: str = "llama", context: int = 256) -> Any:
    """A model of about 20,000 weights."""
    from transformers import Gemma3TextConfig, GPT2Config, LlamaConfig

    if kind == "gpt2":
        return GPT2Config(
            vocab_size=260,
            n_positions=context,
            n_embd=32,
            n_layer=2,
            n_head=2,
            resid_pdrop=0,
            embd_pdrop=0,
            attn_pdrop=0,
        )
    if kind == "gemma3":
        return Gemma3TextConfig(
            vocab_size=260,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=16,  # not hidden / heads, as in the real ones
            query_pre_attn_scalar=16,
            sliding_window=16,
            layer_types=["sliding_attention", "full_attention"],
            max_position_embeddings=context,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=2,
        )
    return LlamaConfig(
        vocab_size=260,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )


def save_model(folder: Path, kind: str = "llama", chat: bool = True, context: int = 256, seed: int = 0) -> Path:
    """A random model and its tokenizer, saved as transformers saves them."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    made = AutoModelForCausalLM.from_config(config(kind, context))
    # Weights of the usual size give logits so flat that every answer ties; these do not.
    with torch.no_grad():
        for weight in made.parameters():
            if weight.dim() > 1:
                weight.mul_(8)
    made.generation_config.eos_token_id = None
    made.save_pretrained(folder)
    tokenizer(chat).save_pretrained(folder)
    return folder


def language_model(folder: Path, precision: str = "fp32", attention_length: int = 64, quantization: Any = None) -> Any:
    """The saved model, loaded as a run loads it."""
    import torch

    from fairtune.models.load import load_model, load_tokenizer

    made = load_tokenizer(folder, False)
    return load_model(folder, made, precision, torch.device("cpu"), False, attention_length, quantization)  # type: ignore[arg-type]


def attach(model: Any, method: str, options: Any = None, seed: int = 0, updates: int = 6) -> Any:
    """The model with a method at work on it."""
    from fairtune.methods import METHODS, Course

    return METHODS[method].attach(model, options or {}, Course(seed, updates))


def tuned(folder: Path, method: str, options: Any = None, seed: int = 0, precision: str = "fp32") -> Any:
    """The saved model, loaded as the method wants it, with the method at work on it."""
    from fairtune.methods import METHODS

    quantization = METHODS[method].quantization(options or {}, precision)  # type: ignore[arg-type]
    return attach(language_model(folder, precision, quantization=quantization), method, options, seed)


def rows(count: int, seed: int = 0) -> list[dict[str, str]]:
    """Questions and answers of various lengths; no question twice."""
    draw = random.Random(seed)
    words = ["uno", "dos", "tres", "cuatro", "cinco", "seis"]
    return [
        {"prompt": f"{index}: " + " ".join(draw.choices(words, k=draw.randint(1, 4))), "completion": draw.choice(words)}
        for index in range(count)
    ]


def write_jsonl(path: Path, lines: list[Any]) -> Path:
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    return path


def row(columns: dict[str, Any]) -> Any:
    """A row of no file."""
    from fairtune.data import Row

    return Row(columns, "row 1")


def text(length: int, seed: int = 0) -> str:
    """Plain text of about this many characters, with words and lines to learn."""
    draw = random.Random(seed)
    words = ["uno", "dos", "tres", "cuatro", "cinco,", "seis.\n"]
    return " ".join(draw.choices(words, k=length // 5))


def examples(count: int, seed: int = 0) -> list[Any]:
    """Rows as examples."""
    from fairtune.data import Row, to_examples
    from fairtune.study import Prompt

    made = [Row(columns, f"row {index}") for index, columns in enumerate(rows(count, seed))]
    return to_examples(made, None, Prompt(system="Say it."))


def encoded(count: int, seed: int = 0) -> list[Any]:
    """Rows as tokens."""
    return list(_encoded(count, seed))


@functools.cache
def _encoded(count: int, seed: int) -> tuple[Any, ...]:
    """Made once: an item cannot be changed, and nearly every test asks for some."""
    from fairtune.data import encode_all

    return tuple(encode_all(examples(count, seed), tokenizer()))


def encoded_for(model: Any, count: int) -> list[Any]:
    """Rows as tokens of a model's own tokenizer."""
    from fairtune.data import encode_all

    return encode_all(examples(count), model.tokenizer)
