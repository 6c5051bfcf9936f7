"""``./file.gguf``: de-quantised once to safetensors in the user's cache, so that the next load takes half a second."""

from __future__ import annotations

import shutil
from pathlib import Path

from fairtune.cache import cache_folder, cache_lock, sha256_of
from fairtune.errors import BudgetError, ModelError
from fairtune.models.sources.folder import full_path
from fairtune.models.sources.place import Resolved, Say
from fairtune.study import ModelRef
from fairtune.units import format_bytes

_SUFFIX = ".gguf"
_MAGIC = b"GGUF"
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


def fetch(source: str, revision: str | None, say: Say) -> Path:
    """Converts the file, or finds it converted.

    Raises:
        ModelError: not a GGUF file that transformers can read.
        BudgetError: not enough disk space.
    """
    return converted(_checked(Path(source)), say)


describe = fetch


def converted(file: Path, say: Say) -> Path:
    """The folder that holds a GGUF file's weights as safetensors."""
    folder = cache_folder() / "models" / sha256_of(file)[:32]
    with cache_lock(folder):
        if not (folder / "config.json").exists():
            _require_space(folder.parent, file.stat().st_size * _GROWTH)
            say(f"converting {file.name} to safetensors, once, into {folder}")
            unfinished = folder.with_suffix(".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            _convert(file, unfinished)
            unfinished.rename(folder)
    return folder


def _convert(file: Path, target: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()  # three bars in a second would tear the live table
    arguments = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    try:
        tokenizer = AutoTokenizer.from_pretrained(**arguments)
        model = AutoModelForCausalLM.from_pretrained(**arguments, dtype=torch.float32)
    except Exception as error:  # readers of other people's files, in Python and Rust, raise what they like
        raise ModelError(f"{file}: transformers cannot read this GGUF file: {error}") from error
    # transformers takes the model for a quantised one, and would refuse to save it. It is de-quantised.
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.hf_quantizer = None
    try:
        model.save_pretrained(target)
        tokenizer.save_pretrained(target)
    except Exception as error:  # an OSError, or safetensors' own, which is none
        raise BudgetError(f"{target}: cannot be written: {error}; free some space, or set FAIRTUNE_CACHE") from error


def _checked(file: Path) -> Path:
    if not file.is_file():
        raise ModelError(f"model file {file}: no such file; relative paths start from the study file's folder")
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
