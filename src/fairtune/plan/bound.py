"""A bound from above where a model's code cannot be simulated, by formulas alone."""

from __future__ import annotations

from typing import Any

from fairtune.records import Phase, PlannedPhase

# Korthikanti et al. 2022, "Reducing Activation Recomputation in Large Transformer Models", equation 2: bytes of a
# token's activations in a layer, 34 times the width and 5 for each head and token of the text, in 16 bits.
_OF_WIDTH, _OF_SCORES = 34, 5
# Gradient, first and second moment in fp32, and a master copy.
_TRAINED_BYTES = 16
_LOGITS = 4


def bound(
    config: Any, weights: int, trainable: int, tokens: int, longest: int, bytes_of_number: int, runtime: int
) -> dict[Phase, PlannedPhase]:
    """Peaks that a run does not pass: every activation is kept, every logit is there, nothing is shared.

    Args:
        config: transformers' configuration of the text model.
        weights: bytes of the loaded model.
        trainable: weights that are trained; 0 for none.
        tokens: of a pass, and those of its ``longest`` text.
        bytes_of_number: of an activation.
    """
    hidden, layers = int(config.hidden_size), int(config.num_hidden_layers)
    scores = _OF_SCORES * int(config.num_attention_heads) * longest
    of_layer = tokens * (_OF_WIDTH * hidden + scores) * bytes_of_number // 2
    logits = tokens * int(config.vocab_size) * _LOGITS
    fixed = {"weights": weights, "logits": 3 * logits, "runtime": runtime}
    found = {"load": {"weights": weights, "runtime": runtime}, "evaluate": {**fixed, "activations": 2 * of_layer}}
    if trainable:
        found["train"] = {**fixed, "activations": layers * of_layer, "optimizer": trainable * _TRAINED_BYTES}
    why = "the model's code cannot be simulated: a bound from above, by formulas"
    return {
        phase: PlannedPhase(peak_bytes=sum(terms.values()), seconds=None, terms=terms, reason=why)  # type: ignore[misc]
        for phase, terms in found.items()
    }
