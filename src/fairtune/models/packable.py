"""Whether a network can be given many texts in one row, and spared its logits: tried, not looked up."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fairtune.data import Encoded
from fairtune.models.attention import PACKED, CannotPackError
from fairtune.models.packing import Kept, lay
from fairtune.models.precision import type_of_products
from fairtune.models.rows import Laid, packed, padded
from fairtune.models.shape import positions

if TYPE_CHECKING:
    from fairtune.models.load import LanguageModel

# Layers that mix tokens in other ways (convolutions, recurrences, chunks) have other names.
_FULL, _WINDOW = "full_attention", "sliding_attention"
# Tokens of the texts that are tried: a beginning, and what the longer one adds.
_BEGINNING, _OWN = 7, 9


def prepare_batching(model: LanguageModel) -> None:
    """Sets :attr:`LanguageModel.batching` to the quickest way in which the network gives what it always gives.

    On a CPU. A GPU's own kernel attends to padded rows, until the other way was measured there.
    """
    room = positions(model.network.config)
    if room is not None and room < _BEGINNING + _OWN:
        model.batching = replace(model.batching, fused=False)
        model.padded_because = f"a context of {room} tokens is too short to try"
        return
    model.batching = replace(model.batching, fused=_gives_logits_as_they_are(model))
    packable = model.kind == "cpu"
    model.padded_because = _pack(model) if packable else "packed rows were not tried on this kind of device"


@torch.no_grad()
def drops(model: LanguageModel) -> bool:
    """Whether the network drops activations at random while it trains.

    Two passes then differ; or will, where what is dropped is an adapter's, which begins as nothing.
    """
    if any(isinstance(module, torch.nn.Dropout) and module.p > 0 for module in model.network.modules()):
        return True
    laid = padded(_texts(model), model.device)
    devices = [model.device] if model.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        model.network.train()
        passes = [_logits(model, laid) for _ in range(2)]
    model.network.eval()
    return not torch.equal(*passes)


def _pack(model: LanguageModel) -> str | None:
    """Lets the network compute attention tile by tile; says why it cannot, and leaves it as it was then."""
    network, config = model.network, model.network.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ())
    unknown = kinds - {_FULL, _WINDOW}
    if unknown:
        return f"the model has layers of the kind {', '.join(sorted(unknown))}"
    before = config._attn_implementation
    if before not in PACKED or not getattr(network, "_supports_attention_backend", False):
        return "the model's attention cannot be exchanged"
    windowed = getattr(config, "sliding_window", None) is not None and (not kinds or _WINDOW in kinds)
    texts = _texts(model)
    with torch.no_grad():
        expected = _logits(model, padded(texts, model.device))
        network.set_attn_implementation(PACKED[before])
        reason = _difference(model, texts, expected, windowed)
    if reason is not None:
        network.set_attn_implementation(before)
        return reason
    model.batching = replace(model.batching, packed=True, branches=_branches(model, texts[0], expected))
    return None


@torch.no_grad()
def _branches(model: LanguageModel, text: Encoded, expected: torch.Tensor) -> bool:
    """Whether a text that is computed in two passes, the second after what is kept of the first, scores the same."""
    kept = Kept()
    tokens, cut = torch.tensor([text.tokens[: text.needed]], device=model.device), text.prompt_length
    first = lay(np.arange(cut), np.full(cut, cut), model.device, None, kept.take)
    with model.computing():
        model.network(input_ids=tokens[:, :cut], use_cache=False, **first.arguments())
    rest = text.needed - cut
    second = lay(np.arange(cut, text.needed), np.full(rest, rest), model.device, kept.past())
    chosen = torch.tensor([text.supervised[cut + 1 : text.needed + 1]], device=model.device)
    with model.computing(), model.gate.only(chosen):
        found = model.network(input_ids=tokens[:, cut:], use_cache=False, **second.arguments()).logits
    apart = (found - expected[: text.answer_tokens]).abs().max()
    return float(apart) <= _tolerance(model) * float(expected.abs().max())


def _difference(
    model: LanguageModel, texts: tuple[Encoded, Encoded], expected: torch.Tensor, windowed: bool
) -> str | None:
    """What shows that texts in one row are not what they are by themselves."""
    one, other = texts
    laid = packed([one, other], True, model.device)
    try:
        with torch.random.fork_rng(devices=[]):
            model.network.train()  # dropout within attention shows in training only
            _logits(model, laid)
        model.network.eval()
        found = _logits(model, laid)
    except CannotPackError as error:
        return str(error)
    except (TypeError, ValueError, RuntimeError) as error:  # other people's code, given what it may not know
        return f"the model takes no layout: {error}"
    finally:
        model.network.eval()
    if windowed and laid.packing is not None and not laid.packing.windows:
        return "the model looks back a window of tokens that its attention is not told"
    beside = _logits(model, packed([_changed(model, one), other], True, model.device))
    if not torch.equal(found[-other.answer_tokens :], beside[-other.answer_tokens :]):
        return "a text changes its neighbour"
    if float((found - expected).abs().max()) > _tolerance(model) * float(expected.abs().max()):
        return "packed texts have other scores"
    return None


@torch.no_grad()
def _gives_logits_as_they_are(model: LanguageModel) -> bool:
    """Whether nothing happens to what the output layer gives; some models scale or cap it.

    The layer is made to give large numbers, which come out again or do not.
    """
    layer = model.gate.layer
    if type(layer) is not torch.nn.Linear:
        return False

    def large(layer: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        return torch.linspace(-99, 99, output.numel(), device=output.device, dtype=output.dtype).view_as(output)

    hook = layer.register_forward_hook(large)
    try:
        logits = _logits(model, padded(_texts(model), model.device))
    finally:
        hook.remove()
    return torch.equal(logits, large(layer, None, logits))


def _logits(model: LanguageModel, laid: Laid) -> torch.Tensor:
    with model.computing(), model.gate.only(laid.predicts):
        logits: torch.Tensor = model.network(**laid.arguments()).logits
    return logits


def _texts(model: LanguageModel) -> tuple[Encoded, Encoded]:
    """Two texts with one beginning."""
    vocabulary = model.network.config.get_text_config().vocab_size
    tokens = [(7919 * index + 13) % vocabulary for index in range(2 * (_BEGINNING + _OWN))]
    beginning = tokens[:_BEGINNING]
    return _text(beginning, tokens[_BEGINNING : _BEGINNING + _OWN]), _text(beginning, tokens[1 - _OWN :])


def _text(beginning: list[int], own: list[int]) -> Encoded:
    supervised = (False,) * (len(beginning) + 1) + (True,) * (len(own) - 1)
    return Encoded("", (*beginning, *own), supervised, len(beginning), "")


def _changed(model: LanguageModel, text: Encoded) -> Encoded:
    vocabulary = model.network.config.get_text_config().vocab_size
    own = [(token + 1) % vocabulary for token in text.tokens[_BEGINNING:]]
    return _text(list(text.prompt), own)


def _tolerance(model: LanguageModel) -> float:
    """What two orders of the same sums may differ by, relative to the largest."""
    with model.computing():
        compute = type_of_products(model.device, model.network.dtype)
    return 0.5 * math.sqrt(max(torch.finfo(compute).eps, torch.finfo(model.network.dtype).eps))
