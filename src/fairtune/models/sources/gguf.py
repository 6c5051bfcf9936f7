"""``./file.gguf``: de-quantised once to safetensors in the user's cache, so that the next load takes half a second."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from fairtune.cache import cache_folder, cache_lock, sha256_of
from fairtune.errors import BudgetError, ModelError
from fairtune.models.sources.described import CONFIG, shape_in
from fairtune.models.sources.folder import full_path
from fairtune.models.sources.place import ModelShape, NotHereError, Resolved, Say
from fairtune.study import ModelChoice, ModelRef
from fairtune.units import format_bytes

_SUFFIX = ".gguf"
_MAGIC = b"GGUF"
# What weights are converted to, as torch calls it.
_TYPE = "float32"
# A weight of four bits becomes one of 32 while it is converted, and a little is needed for the tokenizer.
_GROWTH = 9


def claims(ref: ModelRef, root: Path) -> bool:
    """Whether the text names a GGUF file."""
    return ref.source.lower().endswith(_SUFFIX) and ":" not in ref.source


def short_name(ref: ModelRef) -> str:
    """The file's name without its ending."""
    return Path(ref.source).stem


def resolve(ref: ModelRef, root: Path) -> Resolved:
    """Full path, and the file's SHA-256.

    Raises:
        ModelError: no such file, or not GGUF.
    """
    file = _checked(full_path(ref.source, root))
    return Resolved(str(file), f"sha256:{sha256_of(file)}")


outline = resolve


def shape(model: ModelChoice, say: Say) -> ModelShape:
    """What the file's header says. No weight is de-quantised.

    Raises:
        ModelError: not a GGUF file that transformers can read.
        BudgetError: the cache cannot be written.
    """
    return shape_of_file(_checked(Path(model.source)), say)


def fetch(source: str, revision: str | None, say: Say) -> Path:
    """Converts the file, or finds it converted.

    Raises:
        ModelError: not a GGUF file that transformers can read.
        BudgetError: not enough disk space.
    """
    return converted(_checked(Path(source)), say)


describe = fetch


def shape_of_file(file: Path, say: Say) -> ModelShape:
    """A model by the header of its GGUF file, or as it was converted.

    Raises:
        ModelError: not a GGUF file that transformers can read.
        BudgetError: the cache cannot be written.
    """
    folder = _converted_folder(file)
    if not (folder / CONFIG).exists():
        folder = _header(file, say)
    return replace(shape_in(folder, "its GGUF file"), stored=_TYPE)


def _header(file: Path, say: Say) -> Path:
    """A folder with a GGUF file's configuration and tokenizer. Reading them takes seconds, so they are kept."""
    folder = cache_folder() / "headers" / sha256_of(file)[:32]
    with cache_lock(folder):
        if not (folder / CONFIG).exists():
            say(f"reading the header of {file.name}, once")
            _put(folder, lambda unfinished: _write_header(file, unfinished))
    return folder


def converted(file: Path, say: Say) -> Path:
    """The folder that holds a GGUF file's weights as safetensors."""
    folder = _converted_folder(file)
    with cache_lock(folder):
        if not (folder / CONFIG).exists():
            _require_space(folder.parent, file.stat().st_size * _GROWTH)
            say(f"converting {file.name} to safetensors, once, into {folder}")
            _put(folder, lambda unfinished: _convert(file, unfinished))
    return folder


def _converted_folder(file: Path) -> Path:
    return cache_folder() / "models" / sha256_of(file)[:32]


def _put(folder: Path, write: Callable[[Path], None]) -> None:
    """Makes a folder that is there whole or not at all."""
    unfinished = folder.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    write(unfinished)
    unfinished.rename(folder)


def _write_header(file: Path, target: Path) -> None:
    from transformers import AutoConfig, AutoTokenizer

    _save(target, _read(AutoConfig, file), _read(AutoTokenizer, file))


def _convert(file: Path, target: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()  # three bars in a second would tear the live table
    tokenizer, model = _read(AutoTokenizer, file), _read(AutoModelForCausalLM, file, dtype=getattr(torch, _TYPE))
    # transformers takes the model for a quantised one, and would refuse to save it. It is de-quantised.
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.hf_quantizer = None
    _save(target, model, tokenizer)


def _read(kind: Any, file: Path, **options: Any) -> Any:
    """What one of transformers' Auto classes reads in the file."""
    try:
        return kind.from_pretrained(str(file.parent), gguf_file=file.name, **options)
    except Exception as error:  # readers of other people's files, in Python and Rust, raise what they like
        raise ModelError(f"{file}: transformers cannot read this GGUF file: {error}") from error


def _save(target: Path, *parts: Any) -> None:
    try:
        for part in parts:
            part.save_pretrained(target)
    except Exception as error:  # an OSError, or safetensors' own, which is none
        raise BudgetError(f"{target}: cannot be written: {error}; free some space, or set FAIRTUNE_CACHE") from error


def _checked(file: Path) -> Path:
    if not file.is_file():
        raise NotHereError(f"model file {file}: no such file; relative paths start from the study file's folder")
    with file.open("rb") as opened:
        if opened.read(4) != _MAGIC:
            raise ModelError(f"model file {file}: does not begin as a GGUF file does")
    return file


def _require_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise BudgetError(
            f"{folder}: converting needs about {format_bytes(needed)} and {format_bytes(free)} are free; "
            "free some space, or set FAIRTUNE_CACHE to another disk"
        )
