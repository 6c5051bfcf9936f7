"""Tokenizers of the best known chat families, with their own marks and templates, made in memory."""

from __future__ import annotations

from typing import Any

from tests.tiny import CHAT_TEMPLATE

LLAMA2 = (
    "{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] %}{% set turns = messages[1:] %}"
    "{% else %}{% set turns = messages %}{% endif %}"
    "{% for m in turns %}{% if m['role'] == 'user' %}"
    "{{ bos_token }}[INST] {% if loop.first and system %}<<SYS>>\n{{ system }}\n<</SYS>>\n\n{% endif %}"
    "{{ m['content'] }} [/INST]"
    "{% else %} {{ m['content'] }} {{ eos_token }}{% endif %}{% endfor %}"
)
LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n"
    "{{ m['content'] | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% for m in messages if m['role'] != 'system' %}"
    "<start_of_turn>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n{{ m['content'] | trim }}<end_of_turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
VICUNA = (
    "{% for m in messages %}{% if m['role'] == 'assistant' %}ASSISTANT: {{ m['content'] }}\n"
    "{% else %}{{ m['role'] | upper }}: {{ m['content'] }}\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT: {% endif %}"
)
# Special tokens, which of them begin and end a text, whether the tokenizer adds the first by itself, template.
FAMILIES: dict[str, tuple[list[str], str | None, str, bool, str | None]] = {
    "chatml": (["<|endoftext|>", "<|im_start|>", "<|im_end|>"], None, "<|im_end|>", False, CHAT_TEMPLATE),
    "llama2": (["<s>", "</s>", "<unk>"], "<s>", "</s>", True, LLAMA2),
    "llama3": (
        ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"],
        "<|begin_of_text|>",
        "<|end_of_text|>",
        True,
        LLAMA3,
    ),
    "gemma": (["<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"], "<bos>", "<eos>", True, GEMMA),
    "vicuna": (["<s>", "</s>"], "<s>", "</s>", False, VICUNA),
    "plain": (["<s>", "</s>"], "<s>", "</s>", True, None),
}


def family(name: str, template: str | None = "") -> Any:
    """One token a byte, one for ".S", and the family's special ones; ``template`` replaces its own, None removes it."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special, begin, end, adds, own = FAMILIES[name]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*special, *alphabet, ".S"])}
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=[(".", "S")]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens([AddedToken(token, special=True) for token in special])
    if adds:
        inner.post_processor = processors.TemplateProcessing(
            single=f"{begin} $A", special_tokens=[(str(begin), vocabulary[str(begin)])]
        )
    made = PreTrainedTokenizerFast(tokenizer_object=inner, bos_token=begin, eos_token=end, pad_token=end)
    made.chat_template = own if template == "" else template
    return made
