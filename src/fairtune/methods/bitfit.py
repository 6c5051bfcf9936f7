"""BitFit: only bias terms are trained.

Ben Zaken et al. 2021, "BitFit: Simple Parameter-efficient Fine-tuning for Transformer-based Masked Language-models".
Llama and its like come without biases. Where the architecture has switches for them (``attention_bias``,
``mlp_bias``), they are switched on, and begin at zero: the first outputs are the base model's, and the saved model is
one that transformers loads as it is.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fairtune.errors import Problem, SpecError
from fairtune.methods.protocol import Course, Method, Tuned
from fairtune.study import Strict

if TYPE_CHECKING:
    from torch import nn

    from fairtune.models.load import LanguageModel

_SWITCHES = ("attention_bias", "mlp_bias")


class BitfitOptions(Strict):
    """None of its own; the training recipe can be overridden."""


def _attach(model: LanguageModel, options: Mapping[str, Any], course: Course) -> Tuned:
    network = model.network
    network.requires_grad_(False)
    _switch_on(network)
    biases = [parameter for name, parameter in network.named_parameters() if name.endswith("bias")]
    if not biases:
        kind = type(network).__name__
        raise SpecError([Problem("methods.bitfit", f"{kind} has no biases, and no switch for them; choose another")])
    for bias in biases:
        bias.requires_grad_(True)
    return Tuned(model)


def _switch_on(network: nn.Module) -> None:
    """Adds, as zeros, the biases that the architecture would have with its switches on."""
    import torch
    from transformers import AutoModelForCausalLM

    config: Any = copy.deepcopy(network.config)
    for switch in _SWITCHES:
        if hasattr(config, switch):
            setattr(config, switch, True)
    with torch.device("meta"):
        full = AutoModelForCausalLM.from_config(config)
    there = dict(network.named_parameters())
    for name, parameter in full.named_parameters():
        if name not in there:
            owner, _, leaf = name.rpartition(".")
            layer: Any = network.get_submodule(owner)
            bias = torch.zeros(parameter.shape, dtype=layer.weight.dtype, device=layer.weight.device)
            setattr(layer, leaf, torch.nn.Parameter(bias))
    for switch in _SWITCHES:
        if hasattr(config, switch):
            setattr(network.config, switch, True)


BITFIT = Method(
    name="bitfit",
    summary="bias terms; added as zeros where the architecture can have them",
    paper="Ben Zaken et al. 2021, arXiv:2106.10199",
    formula="biases",
    options=BitfitOptions,
    attach=_attach,
    learning_rate=1e-3,
    learning_rate_reason="the upper end of the paper's range: a bias is one number a neuron, and must move visibly",
    artifact="model",
)
