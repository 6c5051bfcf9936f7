"""``scratch: {…}``: no weights anywhere; a run makes its own, by its seed (models/scratch.py)."""

from __future__ import annotations

import hashlib
from pathlib import Path

from fairtune.cache import sha256_of
from fairtune.errors import ModelError
from fairtune.models.sources.described import descriptions
from fairtune.models.sources.folder import full_path
from fairtune.models.sources.place import Resolved, Say
from fairtune.study import ModelChoice, ModelRef, Scratch

CHARACTERS = "char"
_TOKENIZER = "tokenizer_config.json"


def claims(ref: ModelRef, root: Path) -> bool:
    """Whether the model is described instead of named."""
    return ref.scratch is not None


def short_name(ref: ModelRef) -> str:
    """Architecture, layers and width."""
    shape = _shape_of(ref)
    return f"{shape.architecture}-{shape.layers}x{shape.hidden}"


def resolve(ref: ModelRef, root: Path) -> Resolved:
    """The shape with the full path of its tokenizer, and a hash over the shape and the tokenizer's content.

    The alphabet of a character tokenizer comes from the training text, whose own fingerprint stands for it.

    Raises:
        ModelError: no tokenizer in the folder.
    """
    shape = _shape_of(ref)
    content = ""
    if shape.tokenizer != CHARACTERS:
        folder = _tokenizer_folder(shape.tokenizer, root)
        content = " ".join(f"{file.name} {sha256_of(file)}" for file in descriptions(folder))
        shape = shape.model_copy(update={"tokenizer": str(folder)})
    text = f"{shape.model_dump_json(exclude={'tokenizer'})} {content}"
    fingerprint = f"scratch:{hashlib.sha256(text.encode()).hexdigest()[:32]}"
    return Resolved(_described(shape), fingerprint, scratch=shape)


outline = resolve


def shape(model: ModelChoice, say: Say) -> None:
    """It follows from the study and the training text, which has the alphabet."""


def fetch(source: str, revision: str | None, say: Say) -> None:
    """There is nothing to fetch."""


describe = fetch


def _shape_of(ref: ModelRef) -> Scratch:
    if ref.scratch is None:
        raise ModelError(f"model '{ref.source}': is not from scratch")
    return ref.scratch


def _tokenizer_folder(text: str, root: Path) -> Path:
    folder = full_path(text, root)
    if (folder / _TOKENIZER).exists():
        return folder
    raise ModelError(
        f"tokenizer '{text}': {folder} has no {_TOKENIZER}. Allowed: {CHARACTERS}, or a folder that a tokenizer's "
        "save_pretrained() wrote; relative paths start from the study file's folder"
    )


def _described(shape: Scratch) -> str:
    return (
        f"scratch: {shape.architecture}, {shape.layers} layers, {shape.heads} heads, {shape.hidden} wide, "
        f"context {shape.context}, tokenizer {shape.tokenizer}"
    )
