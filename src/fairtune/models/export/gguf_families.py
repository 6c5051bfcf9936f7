"""Model families that GGUF has words for: their metadata, and how their weights are laid out.

llama.cpp knows much of a family by heart (which layers of Gemma 3 see everything, say). What a configuration says
otherwise, and the file cannot, is refused here rather than lost.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gguf
import torch

from fairtune.errors import ModelError
from fairtune.models.shape import head_size

LayOut = Callable[[str, torch.Tensor, Any], torch.Tensor]


def _as_it_is(name: str, weights: torch.Tensor, config: Any) -> torch.Tensor:
    return weights


def _interleaved(name: str, weights: torch.Tensor, config: Any) -> torch.Tensor:
    """Rotary pairs next to each other.

    transformers turns dimension ``i`` of a head with ``i + head_dim / 2``, llama.cpp's Llama ``2 i`` with ``2 i + 1``;
    so the rows of queries and keys, and their biases, change places within each head.
    """
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}.get(name.split(".")[-2])
    if heads is None:
        return weights
    halves = weights.reshape(heads, 2, weights.shape[0] // heads // 2, *weights.shape[1:])
    return halves.transpose(1, 2).reshape(weights.shape)


def _one_more(name: str, weights: torch.Tensor, config: Any) -> torch.Tensor:
    """Gemma multiplies by ``1 + weight`` after normalising; the file holds the sum."""
    return weights.float() + 1 if name.endswith("norm.weight") else weights


@dataclass(frozen=True)
class Family:
    """A GGUF architecture. ``unsaid`` gives what of a configuration the file cannot say, or None."""

    name: str
    lay_out: LayOut
    activation: str
    unsaid: Callable[[Any], str | None] = lambda _: None

    def remarks(self, config: Any) -> tuple[str, ...]:
        """What llama.cpp computes otherwise, and only beyond some length or in some version."""
        found = []
        window = getattr(config, "sliding_window", None)
        if window is not None and not _windowed(self):
            found.append(f"llama.cpp ignores the sliding window of {window} tokens: longer texts are read otherwise")
        period = _period(config)
        if _windowed(self) and period not in (None, _USUAL_PERIOD[self.name]):
            found.append(
                f"one layer in {period} sees everything; older llama.cpp takes one in {_USUAL_PERIOD[self.name]}"
            )
        return tuple(found)


def _windowed(family: Family) -> bool:
    return family.name in _USUAL_PERIOD


_USUAL_PERIOD = {"gemma2": 2, "gemma3": 6}


def _gemma2_unsaid(config: Any) -> str | None:
    if config.query_pre_attn_scalar != _known_scale(config, 46):
        return f"query_pre_attn_scalar={config.query_pre_attn_scalar}"
    if _period(config) not in (None, 2):
        return f"layer_types={config.layer_types}"
    return None


def _gemma3_unsaid(config: Any) -> str | None:
    """Attention's scale is not in the file: llama.cpp takes the head's size, but for the 27B model."""
    if config.query_pre_attn_scalar != _known_scale(config, 62):
        return f"query_pre_attn_scalar={config.query_pre_attn_scalar}"
    if "full_attention" in config.layer_types and _period(config) is None:
        return f"layer_types={config.layer_types}"
    for key in ("attn_logit_softcapping", "final_logit_softcapping", "use_bidirectional_attention"):
        if getattr(config, key, None):
            return f"{key}={getattr(config, key)}"
    return None


def _known_scale(config: Any, layers_of_27b: int) -> float:
    whole = config.num_hidden_layers == layers_of_27b
    return config.hidden_size / config.num_attention_heads if whole else float(config.head_dim)


def _period(config: Any) -> int | None:
    """``n`` where every n-th layer, and no other, sees everything; None where there is no such n."""
    kinds = getattr(config, "layer_types", None) or []
    full = [index + 1 for index, kind in enumerate(kinds) if kind == "full_attention"]
    if not full:
        return None
    return full[0] if full == list(range(full[0], len(kinds) + 1, full[0])) else None


FAMILIES: dict[str, Family] = {
    "llama": Family("llama", _interleaved, "silu"),
    "mistral": Family("llama", _interleaved, "silu"),
    "qwen2": Family("qwen2", _as_it_is, "silu"),
    "qwen3": Family("qwen3", _as_it_is, "silu"),
    "gemma2": Family("gemma2", _one_more, "gelu_pytorch_tanh", _gemma2_unsaid),
    "gemma3_text": Family("gemma3", _one_more, "gelu_pytorch_tanh", _gemma3_unsaid),
}
"""By transformers' ``model_type``."""

_ROPE_TYPES = ("default", "linear", "llama3")


def family_of(config: Any) -> Family:
    """The family of a configuration.

    Raises:
        ModelError: none that can be written, or a setting that the file could not say.
    """
    family = FAMILIES.get(config.model_type)
    if family is None:
        raise ModelError(
            f"GGUF export knows the families {', '.join(FAMILIES)}; this model is '{config.model_type}'. "
            "Use --to merged, and llama.cpp's own converter"
        )
    unsaid = family.unsaid(config) or _rope_unsaid(config) or _activation_unsaid(family, config)
    if unsaid:
        raise ModelError(f"a GGUF file of the family '{family.name}' cannot say {unsaid}; use --to merged")
    return family


def _rope_unsaid(config: Any) -> str | None:
    rope = rope_of(config)
    if rope.get("rope_type", "default") not in _ROPE_TYPES:
        return f"rope_type={rope['rope_type']} (allowed: {', '.join(_ROPE_TYPES)})"
    partial = rope.get("partial_rotary_factor")
    return f"partial_rotary_factor={partial}" if partial not in (None, 1, 1.0) else None


def _activation_unsaid(family: Family, config: Any) -> str | None:
    used = getattr(config, "hidden_activation", None) or getattr(config, "hidden_act", None)
    return None if used == family.activation else f"the activation {used} (allowed: {family.activation})"


def rope_of(config: Any) -> dict[str, Any]:
    """How positions turn queries and keys, in layers that see everything."""
    rope = config.rope_parameters
    return dict(rope.get("full_attention", rope))


def rope_factors(config: Any) -> torch.Tensor | None:
    """By what llama.cpp must divide each rotary frequency, ``(head_dim / 2,)``; Llama 3.1's stretched context.

    Taken from transformers' own frequencies, so that there is no second formula to keep.
    """
    rope = rope_of(config)
    if rope.get("rope_type") != "llama3":
        return None
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    stretched, _ = ROPE_INIT_FUNCTIONS["llama3"](config, torch.device("cpu"))
    head = head_size(config)
    plain = 1.0 / rope["rope_theta"] ** (torch.arange(0, head, 2, dtype=torch.float64) / head)
    factors: torch.Tensor = (plain / stretched.double()).float()
    return factors


def describe(writer: gguf.GGUFWriter, family: Family, config: Any) -> None:
    """Writes what the family's computation depends on."""
    head = head_size(config)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    _describe_rope(writer, family, config, head)
    if _windowed(family):
        _describe_windows(writer, config)


def _describe_rope(writer: gguf.GGUFWriter, family: Family, config: Any, head: int) -> None:
    rope = rope_of(config)
    writer.add_rope_freq_base(float(rope["rope_theta"]))
    if family.name == "llama":
        writer.add_rope_dimension_count(head)
    if rope.get("rope_type") == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(float(rope["factor"]))


def _describe_windows(writer: gguf.GGUFWriter, config: Any) -> None:
    writer.add_sliding_window(config.sliding_window)
    writer.add_sliding_window_pattern(_period(config) or config.num_hidden_layers + 1)
    local = config.rope_parameters.get("sliding_attention")
    if local is not None:
        writer.add_rope_freq_base_swa(float(local["rope_theta"]))
    if getattr(config, "attn_logit_softcapping", None):
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
    if getattr(config, "final_logit_softcapping", None):
        writer.add_final_logit_softcapping(config.final_logit_softcapping)


_COMPUTING = (
    *("rope_parameters", "layer_types", "sliding_window", "query_pre_attn_scalar", "head_dim", "rms_norm_eps"),
    *("attn_logit_softcapping", "final_logit_softcapping", "attention_bias", "mlp_bias", "hidden_act"),
    *("hidden_activation", "num_attention_heads", "num_key_value_heads", "hidden_size", "intermediate_size"),
)


def overlooked(own: Any, read: Any) -> list[str]:
    """Settings that change what is computed, and that a reader of the file did not find as the model has them."""
    return [
        key
        for key in _COMPUTING
        if hasattr(own, key) and hasattr(read, key) and not _same(getattr(own, key), getattr(read, key))
    ]


def _same(one: Any, other: Any) -> bool:
    """Equal, but for the rounding of a number to fp32, as the file has it."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = {key for found in (one, other) for key, value in found.items() if value is not None}
        return all(_same(one.get(key), other.get(key)) for key in keys)
    if isinstance(one, float) and isinstance(other, float | int):
        return math.isclose(one, other, rel_tol=1e-6)
    return bool(one == other)
