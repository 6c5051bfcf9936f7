"""What a transformers configuration says of a model's shape, whatever the architecture calls it. No torch."""

from __future__ import annotations

from typing import Any

from fairtune.errors import ModelError


def positions(config: Any) -> int | None:
    """Longest sequence in tokens, prompt and answer together; None if the model states none."""
    return getattr(config.get_text_config(), "max_position_embeddings", None)


def head_size(config: Any) -> int:
    """Numbers in one head of attention."""
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def keep_first_layers(config: Any, count: int) -> Any:
    """The configuration of a model that ends after its first layers.

    Raises:
        ModelError: it has fewer.
    """
    shape = config.get_text_config()
    if count > shape.num_hidden_layers:
        raise ModelError(f"first_layers is {count}, and the model has {shape.num_hidden_layers} layers")
    shape.num_hidden_layers = count
    if getattr(shape, "layer_types", None):
        shape.layer_types = shape.layer_types[:count]
    return config
