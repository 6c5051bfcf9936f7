"""What says how a model's weights are used: its config.json, and the tokenizer and code that may lie beside it."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fairtune.cache import sha256_of
from fairtune.errors import ModelError
from fairtune.models.sources.place import ModelShape

CONFIG = "config.json"
# Not model.safetensors.index.json: the weights themselves are hashed.
_DESCRIPTIONS = (
    "*config.json",
    "tokenizer*.json",
    "*.jinja",
    "*.model",
    "*.spm",
    "vocab*",
    "merges.txt",
    "added_tokens.json",
    "*.py",
)
# Any of these holds the words of a tokenizer.
_VOCABULARIES = ("tokenizer.json", "*.model", "*.spm", "vocab.json", "vocab.txt")
# Types as safetensors writes them in a file's header, and their names in torch.
_TYPES = {
    "F64": "float64",
    "F32": "float32",
    "BF16": "bfloat16",
    "F16": "float16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "U8": "uint8",
    "I8": "int8",
}


def descriptions(folder: Path) -> list[Path]:
    """The files of a folder that say how weights are used: configuration, tokenizer, chat template, code."""
    return sorted({file for pattern in _DESCRIPTIONS for file in folder.glob(pattern)})


def read_config(path: Path) -> dict[str, Any]:
    """What a config.json says.

    Raises:
        ModelError: no such file, no JSON, or no ``model_type`` in it.
    """
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(
            f"config '{path}': {error.strerror}; name a config.json, or a folder with one; relative paths start from "
            "the study file's folder"
        ) from None
    except ValueError as error:  # no text, or no JSON
        raise ModelError(f"config '{path}': is not JSON: {error}") from None
    if not isinstance(told, dict) or not isinstance(told.get("model_type"), str):
        raise ModelError(f"config '{path}': has no `model_type`, so it is not the config.json of a model")
    return told


def hash_of(told: Mapping[str, Any], beside: Iterable[Path] = ()) -> str:
    """What stands for a configuration, and for the files beside it, wherever they lie and however they are laid out."""
    text = "\n".join([json.dumps(told, sort_keys=True), *(f"{file.name} {sha256_of(file)}" for file in beside)])
    return f"config:{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def hash_in(folder: Path) -> str:
    """What stands for a folder's configuration and tokenizer.

    Raises:
        ModelError: as for :func:`read_config`.
    """
    beside = [file for file in descriptions(folder) if file.name != CONFIG]
    return hash_of(read_config(folder / CONFIG), beside)


def shape_in(folder: Path, stated_by: str) -> ModelShape:
    """What a folder says of a model, weights or not.

    Raises:
        ModelError: as for :func:`read_config`; weights that cannot be read.
    """
    told = read_config(folder / CONFIG)
    words = any(next(folder.glob(pattern), None) for pattern in _VOCABULARIES)
    weights = sorted(folder.glob("*.safetensors"))
    stored = stored_as(weights) if weights else stated_type(told)
    return ModelShape(folder, folder if words else None, stated_by, stored)


def stated_type(told: Mapping[str, Any]) -> str | None:
    """Torch's name of the type of a model's weights, as its configuration states it; newer ones say ``dtype``."""
    for place in (told, told.get("text_config") or {}):
        found = place.get("dtype") or place.get("torch_dtype")
        if isinstance(found, str) and found.removeprefix("torch.") in _TYPES.values():
            return found.removeprefix("torch.")
    return None


def stored_as(weights: Sequence[Path]) -> str | None:
    """The type that most numbers of some safetensors files have, from the files' headers.

    Raises:
        ModelError: a file that is none.
    """
    from safetensors import SafetensorError, safe_open

    numbers: Counter[str] = Counter()
    for path in weights:
        try:
            with safe_open(path, framework="numpy") as file:
                for name in file.keys():  # noqa: SIM118 - it is no mapping
                    tensor = file.get_slice(name)
                    numbers[tensor.get_dtype()] += math.prod(tensor.get_shape())
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{path}: cannot be read as safetensors: {error}") from None
    return _TYPES.get(max(numbers, key=numbers.__getitem__)) if numbers else None
