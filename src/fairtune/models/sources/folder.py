"""``./folder``: a model saved by transformers."""

from __future__ import annotations

import hashlib
from pathlib import Path

from fairtune.cache import sha256_of
from fairtune.errors import ModelError
from fairtune.models.sources.described import CONFIG, descriptions, hash_in, shape_in
from fairtune.models.sources.place import ModelShape, NotHereError, Resolved, Say
from fairtune.study import ModelChoice, ModelRef

_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


def claims(ref: ModelRef, root: Path) -> bool:
    """Whether the text looks like a path, or is a folder that exists."""
    return ref.source.startswith(("./", "../", "/", "~")) or (root / ref.source).is_dir()


def short_name(ref: ModelRef) -> str:
    """The folder's own name."""
    return Path(ref.source).name or ref.source


def resolve(ref: ModelRef, root: Path) -> Resolved:
    """Full path, and a hash over the weights and the files that say how to use them.

    Raises:
        ModelError: no such folder, or no safetensors in it.
    """
    folder = full_path(ref.source, root)
    weights = require_safetensors(folder)
    text = "\n".join(f"{file.name} {sha256_of(file)}" for file in [*descriptions(folder), *weights])
    return Resolved(str(folder), f"sha256:{hashlib.sha256(text.encode()).hexdigest()[:32]}")


def outline(ref: ModelRef, root: Path) -> Resolved:
    """As :func:`resolve`; of a folder without safetensors, a hash over its configuration and tokenizer.

    Raises:
        ModelError: no such folder, or no config.json in it.
    """
    folder = _with_config(full_path(ref.source, root))
    if next(folder.glob("*.safetensors"), None):
        return resolve(ref, root)
    return Resolved(str(folder), hash_in(folder))


def shape(model: ModelChoice, say: Say) -> ModelShape:
    """What the folder says, weights or not.

    Raises:
        ModelError: no such folder, or no config.json in it.
    """
    return shape_in(_with_config(Path(model.source)), "its folder")


def full_path(text: str, root: Path) -> Path:
    """The path, from the root, without ``~``.

    Raises:
        ModelError: ``~name`` of nobody.
    """
    try:
        return (root / Path(text).expanduser()).resolve()
    except RuntimeError as error:
        raise ModelError(f"model '{text}': {error}") from None


def fetch(source: str, revision: str | None, say: Say) -> Path:
    """The folder as it is.

    Raises:
        ModelError: as for :func:`resolve`.
    """
    require_safetensors(Path(source))
    return Path(source)


describe = fetch


def require_safetensors(folder: Path) -> list[Path]:
    """The weight files of a folder.

    Raises:
        ModelError: no such folder; no config.json; no weights; only pickled weights, which can run code.
    """
    weights = sorted(_with_config(folder).glob("*.safetensors"))
    if weights:
        return weights
    pickles = sorted(file.name for pattern in _PICKLES for file in folder.glob(pattern))
    if pickles:
        raise ModelError(
            f"model folder {folder}: only pickled weights ({', '.join(pickles[:3])}), which can run code when loaded. "
            "Where you trust them, load them once with transformers and save_pretrained(), which writes safetensors"
        )
    raise ModelError(f"model folder {folder}: has no weights; *.safetensors files are needed")


def _with_config(folder: Path) -> Path:
    if not folder.is_dir():
        raise NotHereError(f"model folder {folder}: no such folder; relative paths start from the study file's folder")
    if not (folder / CONFIG).exists():
        raise ModelError(f"model folder {folder}: has no {CONFIG}; save a model there with save_pretrained()")
    return folder
