"""A tokenizer in GGUF's words: tokens, their kinds, merges or scores, special ids, the chat template."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import gguf

from fairtune.errors import ModelError

# How text is cut before merging, as tokenizers files say it, and what llama.cpp calls it (src/llama-vocab.cpp).
# The expressions are those of the models' own tokenizer.json.
_TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_HEAD = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
_CUTS: dict[tuple[tuple[str, object], ...], str] = {
    (("ByteLevel", True),): "gpt-2",
    (("Digits", True), ("ByteLevel", True)): "smollm",
    (("Split", _HEAD + "{1,3}" + _TAIL), ("ByteLevel", False)): "llama-bpe",
    (("Split", _HEAD + _TAIL), ("ByteLevel", False)): "qwen2",
}
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
_SPACE = "▁"


@dataclass(frozen=True)
class Vocabulary:
    """A fast tokenizer's own description, as far as GGUF has words for it.

    ``cut`` is llama.cpp's name for how text is cut before merging; None for a SentencePiece-like vocabulary, whose
    bytes are tokens of their own.
    """

    tokens: dict[int, str]
    added: dict[int, bool]
    """Tokens that stand whole in a text, and whether each is special."""
    merges: list[tuple[str, str]]
    cut: str | None
    unknown: str | None
    prefixed: bool
    """Whether a space is put before a text."""


def require_vocabulary(tokenizer: Any) -> Vocabulary:
    """Reads a tokenizer's description.

    Raises:
        ModelError: neither byte-level BPE that llama.cpp has a name for, nor BPE with tokens for bytes.
    """
    if getattr(tokenizer, "backend_tokenizer", None) is None:
        raise ModelError("GGUF export needs a fast tokenizer (tokenizer.json); this model has none. Use --to merged")
    said = json.loads(tokenizer.backend_tokenizer.to_str())
    model = said["model"]
    if model["type"] != "BPE":
        raise ModelError(f"GGUF export knows tokenizers of the kind BPE; this is {model['type']}. Use --to merged")
    steps = _steps(said["pre_tokenizer"], "pretokenizers")
    byte_level = any(step["type"] == "ByteLevel" for step in steps)
    if not byte_level and not model["byte_fallback"]:
        raise ModelError("GGUF export knows BPE over bytes; this tokenizer has no tokens for bytes. Use --to merged")
    added = {token["id"]: token for token in said["added_tokens"]}
    tokens = {index: token for token, index in model["vocab"].items()}
    return Vocabulary(
        tokens | {index: token["content"] for index, token in added.items()},
        {index: bool(token["special"]) for index, token in added.items()},
        [_pair(merge) for merge in model["merges"]],
        _cut(steps) if byte_level else None,
        model["unk_token"],
        _prefixed(steps, _steps(said["normalizer"], "normalizers")),
    )


def _steps(said: dict[str, Any] | None, inside: str) -> list[dict[str, Any]]:
    if said is None:
        return []
    return list(said[inside]) if said["type"] == "Sequence" else [said]


def _pair(merge: Any) -> tuple[str, str]:
    """Older files say a merge as one text."""
    one, other = merge.split(" ") if isinstance(merge, str) else merge
    return one, other


def _cut(steps: list[dict[str, Any]]) -> str:
    seen = tuple(_step(step) for step in steps)
    if seen not in _CUTS or any(step.get("add_prefix_space") for step in steps):
        raise ModelError(
            f"the tokenizer cuts text in a way that fairtune has no llama.cpp name for ({json.dumps(steps)[:300]}); "
            f"known: {', '.join(_CUTS.values())}. Use --to merged, and llama.cpp's own converter"
        )
    return _CUTS[seen]


def _step(step: dict[str, Any]) -> tuple[str, object]:
    said: dict[str, object] = {
        "ByteLevel": step.get("use_regex"),
        "Digits": step.get("individual_digits"),
        "Split": (step.get("pattern") or {}).get("Regex"),
    }
    return step["type"], said.get(step["type"])


def _prefixed(steps: list[dict[str, Any]], normalizers: list[dict[str, Any]]) -> bool:
    asked = any(step["type"] == "Metaspace" and step.get("prepend_scheme") != "never" for step in steps)
    return asked or any(step["type"] == "Prepend" for step in normalizers)


def describe_vocabulary(writer: gguf.GGUFWriter, tokenizer: Any, stops: list[int], size: int) -> None:
    """Writes the tokenizer.

    Args:
        stops: tokens that end an answer.
        size: rows of the embedding; tokens beyond the tokenizer's own are marked unused.

    Raises:
        ModelError: as for :func:`require_vocabulary`; more tokens than the model has rows.
    """
    found = require_vocabulary(tokenizer)
    if max(found.tokens) >= size:
        raise ModelError(f"the tokenizer has {max(found.tokens) + 1} tokens and the model {size} rows for them")
    writer.add_tokenizer_model("llama" if found.cut is None else "gpt2")
    writer.add_tokenizer_pre(found.cut or "default")
    writer.add_token_list([_spelled(found, index) for index in range(size)])
    writer.add_token_types([_kind(found, index) for index in range(size)])
    if found.cut is None:
        writer.add_token_scores(_scores(found, size))
        writer.add_add_space_prefix(found.prefixed)
    # llama.cpp needs merges for byte-level vocabularies; transformers reads them for the others too.
    writer.add_token_merges([f"{one} {other}" for one, other in found.merges])
    _special(writer, tokenizer, stops)


def _spelled(found: Vocabulary, index: int) -> str:
    token = found.tokens.get(index, f"[PAD{index}]")
    # An added token is looked for in the text as it is written, where a space is a space.
    plain = found.cut is None and index in found.added and not found.added[index]
    return token.replace(_SPACE, " ") if plain else token


def _kind(found: Vocabulary, index: int) -> gguf.TokenType:
    token = found.tokens.get(index)
    if token is None:
        return gguf.TokenType.UNUSED
    if index in found.added:
        return gguf.TokenType.CONTROL if found.added[index] else gguf.TokenType.USER_DEFINED
    if found.cut is None and token == found.unknown:
        return gguf.TokenType.UNKNOWN
    if found.cut is None and _BYTE.fullmatch(token):
        return gguf.TokenType.BYTE
    return gguf.TokenType.NORMAL


def _scores(found: Vocabulary, size: int) -> list[float]:
    """What is merged first has the highest score: llama.cpp takes the best score, tokenizers the first merge."""
    ranks: dict[str, float] = {}
    for rank, (one, other) in enumerate(found.merges):
        ranks.setdefault(one + other, -float(rank))
    last = -float(len(found.merges))
    return [ranks.get(found.tokens.get(index, ""), last) for index in range(size)]


def _special(writer: gguf.GGUFWriter, tokenizer: Any, stops: list[int]) -> None:
    ids = {
        writer.add_bos_token_id: tokenizer.bos_token_id,
        writer.add_eos_token_id: tokenizer.eos_token_id,
        writer.add_unk_token_id: tokenizer.unk_token_id,
        writer.add_pad_token_id: tokenizer.pad_token_id,
        # A chat model may end its turn with another token than a text.
        writer.add_eot_token_id: next((stop for stop in reversed(stops) if stop != tokenizer.eos_token_id), None),
    }
    for write, token in ids.items():
        if token is not None:
            write(token)
    probe = tokenizer("a")["input_ids"]
    writer.add_add_bos_token(tokenizer.bos_token_id is not None and probe[0] == tokenizer.bos_token_id)
    writer.add_add_eos_token(tokenizer.eos_token_id is not None and probe[-1] == tokenizer.eos_token_id)
    if tokenizer.chat_template:
        writer.add_chat_template(tokenizer.chat_template)
