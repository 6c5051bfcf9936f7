"""A GGUF file in llama.cpp itself, where its Python binding is installed; it is no dependency of fairtune."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from fairtune.data import Encoded


def installed() -> bool:
    """Whether ``llama_cpp`` can be imported."""
    return importlib.util.find_spec("llama_cpp") is not None


@contextlib.contextmanager
def opened(file: Path, context: int) -> Iterator[Any]:
    """The file, ready to answer, on the CPU.

    Args:
        context: longest prompt and answer together, in tokens.
    """
    from llama_cpp import Llama

    engine = Llama(
        model_path=str(file),
        n_ctx=context,
        n_batch=context,
        n_gpu_layers=0,
        verbose=False,
    )
    try:
        yield engine
    finally:
        engine.close()


def version() -> str:
    """Of the binding."""
    import llama_cpp

    return str(llama_cpp.__version__)


def answers(
    engine: Any, tokenizer: Any, items: Sequence[Encoded], max_new_tokens: int, stops: Collection[int]
) -> list[str]:
    """Greedy answers to the items' prompts, given as tokens."""
    return [
        tokenizer.decode(_continue(engine, item, max_new_tokens, stops), skip_special_tokens=True).strip()
        for item in items
    ]


def _continue(engine: Any, item: Encoded, max_new_tokens: int, stops: Collection[int]) -> list[int]:
    new: list[int] = []
    for token in engine.generate(list(item.prompt), top_k=1, temp=0.0, repeat_penalty=1.0):
        if token in stops:
            break
        new.append(token)
        if len(new) == max_new_tokens:
            break
    return new


def tokenised_otherwise(engine: Any, tokenizer: Any, items: Sequence[Encoded]) -> int:
    """Prompts that llama.cpp's own tokenizer cuts otherwise."""
    changed = 0
    for item in items:
        text = tokenizer.decode(item.prompt, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        own = tokenizer(text, add_special_tokens=False)["input_ids"]
        changed += engine.tokenize(text.encode(), add_bos=False, special=True) != list(own)
    return changed
