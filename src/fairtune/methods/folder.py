"""An adapter in PEFT's layout, whoever made it, put on a model that others will use after it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from fairtune.errors import ModelError
from fairtune.methods.peft_any import restore_any
from fairtune.methods.protocol import Tuned

if TYPE_CHECKING:
    from fairtune.models.load import LanguageModel


CONFIG = "adapter_config.json"
"""By which PEFT's layout is known."""


def require_adapter(folder: Path) -> None:
    """Looks at a folder before any weights are loaded.

    Raises:
        ModelError: it holds no adapter, or one that could run code.
    """
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"adapter {folder}: no adapter in PEFT's layout: {CONFIG} cannot be read ({error})") from None
    if not isinstance(config, dict) or "peft_type" not in config:
        raise ModelError(f"adapter {folder}: {CONFIG} has no peft_type")
    if not (folder / "adapter_model.safetensors").is_file():
        raise ModelError(f"adapter {folder}: has no adapter_model.safetensors; weights in pickles are not read")


@contextlib.contextmanager
def wearing(model: LanguageModel, folder: Path) -> Iterator[Tuned]:
    """The model with an adapter on it, not merged: afterwards the model's weights are what they were, to the bit.

    Raises:
        ModelError: the adapter does not fit the model.
    """
    worn = dataclasses.replace(model)
    try:
        tuned = restore_any(worn, {}, folder)
    except (ValueError, RuntimeError, KeyError) as error:
        _take_off(model, worn)
        raise ModelError(f"adapter {folder}: does not fit the model: {' '.join(str(error).split())}") from error
    worn.network.requires_grad_(False).eval()
    try:
        yield tuned
    finally:
        _take_off(model, worn)


def _take_off(model: LanguageModel, worn: LanguageModel) -> None:
    network = worn.network
    if network is not model.network:
        # Virtual tokens lie beside the network; adapters lie in it, in the place of its own layers.
        model.network = network.unload() if hasattr(network.base_model, "unload") else network.get_base_model()
    model.gate.move_to(model.network.get_output_embeddings())
