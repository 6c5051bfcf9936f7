"""A model by its configuration alone: every weight is there, and none has numbers."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from fairtune.models.device import written_out_attention
from fairtune.models.load import LanguageModel, ready
from fairtune.models.packable import prepare_batching
from fairtune.models.precision import WEIGHTS
from fairtune.models.quantize import Quantization, load_arguments
from fairtune.models.rows import Batching
from fairtune.plan.phantom import Phantom
from fairtune.study import Precision


class NoTokenizer:
    """Stands where a tokenizer would, for code that only wants to know where texts end."""

    eos_token_id = 0
    pad_token_id = 0
    chat_template = None

    def __init__(self, vocabulary: int) -> None:
        self._vocabulary = vocabulary

    def __len__(self) -> int:
        return self._vocabulary

    def __call__(self, text: str, **options: Any) -> dict[str, list[int]]:
        """A token for every four characters, about as many as a real one has."""
        return {"input_ids": [0] * max(1, len(text) // 4)}

    def decode(self, tokens: Any, **options: Any) -> str:
        """Nothing is known of the text."""
        return ""


class Params4bit(Phantom):
    """PEFT knows bitsandbytes' weights by the names of their classes."""


class Int8Params(Phantom):
    """As above."""


@dataclass(frozen=True)
class Ways:
    """What was found out about a network (models/packable.py)."""

    batching: Batching
    padded_because: str | None
    attention: str


@dataclass(frozen=True)
class Blueprint:
    """What a model is made from.

    Attributes:
        config: transformers' configuration.
        precision: of its weights and products.
        quantization: of its frozen weights, if not by precision.
        kind: of the device it is thought on, which decides how attention is computed and texts are laid out.
        longest: tokens of the longest text of the study.
    """

    config: Any
    precision: Precision
    quantization: Quantization | None
    kind: str
    longest: int
    ways: dict[str, Ways] = field(default_factory=dict, compare=False)
    """How texts of models that were built before are laid out: to find out takes a third of a simulation."""


def describe(blueprint: Blueprint) -> Any:
    """The network with nothing in it, on the meta device, its linear layers exchanged where they are quantised."""
    attention = written_out_attention(torch.device(blueprint.kind), blueprint.longest)
    with torch.device("meta"):
        network = AutoModelForCausalLM.from_config(
            blueprint.config, dtype=WEIGHTS[blueprint.precision], trust_remote_code=False, **attention
        )
    if blueprint.quantization is not None:
        from transformers.integrations import replace_with_bnb_linear
        from transformers.quantizers.auto import AutoHfQuantizer
        from transformers.quantizers.base import get_keys_to_not_convert

        code = load_arguments(blueprint.quantization, torch.device("cpu"))["quantization_config"]
        replace_with_bnb_linear(network, get_keys_to_not_convert(network), code)
        network.is_loaded_in_4bit = blueprint.quantization.code != "int8"
        network.is_loaded_in_8bit = blueprint.quantization.code == "int8"
        network.hf_quantizer = AutoHfQuantizer.from_config(code)
    return network


def fill(network: Any, blueprint: Blueprint, tokenizer: Any = None) -> LanguageModel:
    """The model as it is after loading; a simulation must be active.

    Args:
        network: from :func:`describe`.
        tokenizer: the model's, where it is at hand.
    """
    _materialise(network, blueprint)
    vocabulary = network.get_input_embeddings().num_embeddings
    given = tokenizer or NoTokenizer(vocabulary)
    model = ready(network, given, blueprint.precision, torch.device("cpu"), functools.partial(_prepare, blueprint))
    model.stops = [vocabulary - 1]  # an unknown token is 0, and no answer is to end before its limit
    return model


def _prepare(blueprint: Blueprint, model: LanguageModel) -> None:
    model.kind = blueprint.kind
    config = model.network.config.get_text_config()
    key = f"{model.network.config.to_json_string()} {blueprint.precision} {blueprint.quantization} {blueprint.kind}"
    known = blueprint.ways.get(key)
    if known is None:
        prepare_batching(model)
        blueprint.ways[key] = Ways(model.batching, model.padded_because, config._attn_implementation)
        return
    model.batching, model.padded_because = known.batching, known.padded_because
    if config._attn_implementation != known.attention:
        model.network.set_attn_implementation(known.attention)


def _materialise(network: Any, blueprint: Blueprint) -> None:
    """Gives memory to every weight, once, wherever it is used."""
    found: dict[int, Any] = {}
    for module in network.modules():
        for name, weight in list(module._parameters.items()):
            if weight is not None:
                if id(weight) not in found:
                    found[id(weight)] = _weight(weight, module, blueprint)
                module._parameters[name] = found[id(weight)]
        for name, buffer in list(module._buffers.items()):
            if buffer is not None:
                module._buffers[name] = _buffer(buffer)


def _weight(weight: Any, module: Any, blueprint: Blueprint) -> Any:
    code = blueprint.quantization
    if code is None or not type(weight).__module__.startswith("bitsandbytes"):
        return torch.nn.Parameter(torch.empty(weight.shape, dtype=weight.dtype), requires_grad=False)
    whole = torch.empty((module.out_features, module.in_features), dtype=WEIGHTS[blueprint.precision])
    return _eight_bit(whole) if code.code == "int8" else _four_bit(whole, code, weight)


def _four_bit(whole: torch.Tensor, code: Quantization, weight: Any) -> Any:
    from bitsandbytes.functional import quantize_4bit

    packed, state = quantize_4bit(whole, quant_type=code.code, compress_statistics=code.double)
    made: Any = torch.nn.Parameter(packed, requires_grad=False)
    made.__class__ = Params4bit
    made.quant_state, made.bnb_quantized = state, True
    made.quant_type, made.compress_statistics, made.quant_storage = code.code, code.double, torch.uint8
    made.blocksize = state.blocksize
    return made


def _eight_bit(whole: torch.Tensor) -> Any:
    rows = torch.ops.bitsandbytes.int8_vectorwise_quant(whole.to(torch.float16))
    made: Any = torch.nn.Parameter(rows[0], requires_grad=False)
    made.__class__ = Int8Params
    made.CB, made.SCB, made.has_fp16_weights = rows[0], rows[1], False
    return made


def _buffer(buffer: torch.Tensor) -> torch.Tensor:
    return torch.zeros(buffer.shape, dtype=buffer.dtype)
