"""Whether a network can be given many texts in one row, and spared its logits: tried, not looked up."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import cross_entropy

from fairtune.data import Encoded
from fairtune.models.attention import PACKED, CannotPackError
from fairtune.models.likelihood import supervised_logits, supervised_losses
from fairtune.models.shape import positions

if TYPE_CHECKING:
    from fairtune.models.load import LanguageModel

# Layers that mix tokens in other ways (convolutions, recurrences, chunks) have other names.
_KNOWN_LAYERS = {"full_attention", "sliding_attention"}
# Tokens of the texts that are tried: a beginning, and what the longer one adds.
_BEGINNING, _OWN = 7, 9


def prepare_batching(model: LanguageModel) -> None:
    """Sets :attr:`LanguageModel.batching` to the quickest way in which the network gives what it always gives.

    On a CPU. A GPU's own kernel attends to padded rows, until the other way was measured there.
    """
    room = positions(model.network.config)
    if room is not None and room < _BEGINNING + _OWN:
        model.batching = replace(model.batching, fused=False)
        print(f"texts are padded, not packed: a context of {room} tokens is too short to try it")
        return
    model.batching = replace(model.batching, fused=_spares_logits(model))
    if model.device.type == "cpu":
        reason = _pack(model)
        if reason is not None:
            print(f"texts are padded, not packed: {reason}")


def _pack(model: LanguageModel) -> str | None:
    """Lets the network compute attention tile by tile; says why it cannot, and leaves it as it was then."""
    network, config = model.network, model.network.config.get_text_config()
    unknown = set(getattr(config, "layer_types", None) or ()) - _KNOWN_LAYERS
    if unknown:
        return f"the model has layers of the kind {', '.join(sorted(unknown))}"
    if not getattr(network, "_supports_attention_backend", False):
        return "the model's attention cannot be exchanged"
    plain, before = model.batching, config._attn_implementation
    expected = _logits(model, *_texts(config.vocab_size))
    network.set_attn_implementation(PACKED)
    model.batching = replace(plain, packed=True)
    reason = _difference(model, expected, config.vocab_size)
    if reason is not None:
        network.set_attn_implementation(before)
        model.batching = plain
    return reason


def _difference(model: LanguageModel, expected: torch.Tensor, vocabulary: int) -> str | None:
    """What shows that texts in one row are not what they are by themselves."""
    one, other = _texts(vocabulary)
    try:
        with torch.random.fork_rng(devices=[]):
            model.network.train()  # dropout within attention shows in training only
            _logits(model, one, other)
        model.network.eval()
        found = _logits(model, one, other)
    except CannotPackError as error:
        return str(error)
    except TypeError as error:
        return f"the model takes no layout: {error}"
    finally:
        model.network.eval()
    beside = _logits(model, _changed(one, vocabulary), other)
    if not torch.equal(found[-other.answer_tokens :], beside[-other.answer_tokens :]):
        return "a text changes its neighbour"
    if float((found - expected).abs().max()) > _tolerance(model) * float(expected.abs().max()):
        return "packed texts have other scores"
    return None


def _spares_logits(model: LanguageModel) -> bool:
    """Whether losses are those of the output layer alone; some models scale or cap what comes out of it."""
    if type(model.gate.layer) is not torch.nn.Linear:
        return False
    texts = _texts(model.network.config.get_text_config().vocab_size)
    with torch.no_grad():
        logits, answers, _ = supervised_logits(model, texts)
        losses, _ = supervised_losses(model, texts)
        return torch.allclose(losses, cross_entropy(logits, answers, reduction="none"), rtol=_tolerance(model))


@torch.no_grad()
def _logits(model: LanguageModel, *texts: Encoded) -> torch.Tensor:
    return supervised_logits(model, texts)[0]


def _texts(vocabulary: int) -> tuple[Encoded, Encoded]:
    """Two texts with one beginning."""
    tokens = [(7919 * index + 13) % vocabulary for index in range(2 * (_BEGINNING + _OWN))]
    beginning = tokens[:_BEGINNING]
    return _text(beginning, tokens[_BEGINNING : _BEGINNING + _OWN]), _text(beginning, tokens[1 - _OWN :])


def _text(beginning: list[int], own: list[int]) -> Encoded:
    supervised = (False,) * (len(beginning) + 1) + (True,) * (len(own) - 1)
    return Encoded("", (*beginning, *own), supervised, len(beginning), "")


def _changed(text: Encoded, vocabulary: int) -> Encoded:
    own = [(token + 1) % vocabulary for token in text.tokens[_BEGINNING:]]
    return _text(list(text.prompt), own)


def _tolerance(model: LanguageModel) -> float:
    """What two orders of the same sums may differ by, relative to the largest."""
    with model.computing():
        kind = model.device.type
        compute = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else model.network.dtype
    return 0.5 * math.sqrt(max(torch.finfo(compute).eps, torch.finfo(model.network.dtype).eps))
