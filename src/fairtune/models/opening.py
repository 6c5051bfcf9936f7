"""A run's tokenizer and model: read from a folder, or made anew."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from fairtune.errors import ModelError
from fairtune.models.load import LanguageModel, load_config, load_model, load_tokenizer
from fairtune.models.quantize import Quantization
from fairtune.models.scratch import make_config, make_model, make_tokenizer
from fairtune.models.shape import positions
from fairtune.study import ModelChoice, Precision

LONGEST = 4096
"""Tokens of the longest text, where nobody knows it: attention over longer ones is not written out."""


def open_tokenizer(model: ModelChoice, folder: Path | None, texts: Iterable[str]) -> Any:
    """The model's tokenizer.

    Args:
        folder: what ``fetch`` gave for the model.
        texts: the training text, for a tokenizer that is made from it.

    Raises:
        ModelError: missing or not readable.
    """
    if model.scratch is not None:
        return make_tokenizer(model.scratch, texts)
    return load_tokenizer(_there(model, folder), model.trust_remote_code)


def made_config(model: ModelChoice, texts: Iterable[str]) -> Any:
    """transformers' configuration of a model that is made, not read.

    Args:
        texts: as for :func:`open_tokenizer`, which decides how many tokens there are.

    Raises:
        ModelError: the model is not from scratch; its tokenizer is not readable.
    """
    if model.scratch is None:
        raise ModelError(f"model '{model.name}': has neither a configuration nor a shape")
    return make_config(model.scratch, make_tokenizer(model.scratch, texts))


def context_of(model: ModelChoice, folder: Path | None) -> int | None:
    """Longest sequence in tokens, prompt and answer together; None if the model states none. Loads no weights.

    Raises:
        ModelError: its configuration is not readable.
    """
    if model.scratch is not None:
        return model.scratch.context
    return positions(load_config(_there(model, folder), model.trust_remote_code))


def open_model(
    model: ModelChoice,
    folder: Path | None,
    tokenizer: Any,
    precision: Precision,
    device: torch.device,
    longest: int,
    seed: int,
    quantization: Quantization | None = None,
) -> LanguageModel:
    """The model, ready to be adapted.

    Args:
        longest: tokens of the longest example of the study; decides how attention is computed.
        seed: of the weights, where they are made.
        quantization: the code of the frozen weights, if not that of ``precision``.

    Raises:
        ModelError: as for ``load_model``.
    """
    if model.scratch is not None:
        if quantization is not None:
            raise ModelError(f"model '{model.name}' is made from scratch: there are no weights to quantise")
        return make_model(model.scratch, tokenizer, precision, device, longest, seed)
    weights, trusted = _there(model, folder), model.trust_remote_code
    return load_model(weights, tokenizer, precision, device, trusted, longest, quantization, model.first_layers)


def _there(model: ModelChoice, folder: Path | None) -> Path:
    if folder is None:
        raise ModelError(f"model '{model.name}': has neither weights nor a shape")
    return folder
