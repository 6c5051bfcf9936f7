"""``gguf``: one file for llama.cpp and what is built on it.

The format: github.com/ggml-org/ggml, docs/gguf.md. Tensors are streamed into the file one by one, so that writing needs
no memory beside the model's own.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairtune.errors import BudgetError, ModelError
from fairtune.models.export.merging import require_mergeable
from fairtune.models.export.protocol import Finished

if TYPE_CHECKING:
    import torch

    from fairtune.models.load import LanguageModel


class Gguf:
    """Weights, tokenizer, chat template and metadata in one file; merged in fp32, then rounded once."""

    summary = "one GGUF file for llama.cpp, the adapter merged into the weights"
    types: tuple[str, ...] = ("f16", "q8_0")

    def require(self, run: Finished) -> None:
        """The architecture, its settings and the tokenizer must be ones that GGUF has words for."""
        from fairtune.models.export.gguf_families import family_of
        from fairtune.models.export.gguf_vocabulary import require_vocabulary
        from fairtune.models.load import load_tokenizer

        require_mergeable(run)
        family_of(_own_config(run))
        require_vocabulary(load_tokenizer(run.base, run.spec.model.trust_remote_code))

    def write(self, run: Finished, folder: Path, type_name: str) -> tuple[str, ...]:
        """Writes ``<model>-<run>-<type>.gguf``."""
        model = run.merged()
        name = f"{run.spec.model.name} {run.spec.method.label}"
        stem = re.sub(r"[^A-Za-z0-9.]+", "-", f"{run.spec.model.name}-{run.spec.run_id}").strip("-")
        return write_file(model, name, folder / f"{stem}-{type_name}.gguf", type_name)

    def load(self, run: Finished, folder: Path, device: torch.device) -> tuple[LanguageModel, tuple[str, ...]]:
        """The file by transformers, de-quantised to fp32: what it holds, without another rounding."""
        from transformers import AutoTokenizer

        from fairtune.models.load import ready

        file = file_in(folder)
        try:
            tokenizer = AutoTokenizer.from_pretrained(str(folder), gguf_file=file.name)
            network, helped = read_file(file, _own_config(run))
        except Exception as error:  # a reader of other people's files raises what it likes
            raise ModelError(f"{file}: transformers cannot read the file that was written: {error}") from error
        return ready(network, tokenizer, "fp32", device), helped


def _own_config(run: Finished) -> Any:
    """The configuration that the run's model has."""
    from fairtune.models.load import load_config
    from fairtune.models.shape import keep_first_layers

    config = load_config(run.base, run.spec.model.trust_remote_code)
    first = run.spec.model.first_layers
    return keep_first_layers(config, first) if first else config


def file_in(folder: Path) -> Path:
    """The GGUF file of an export."""
    return next(folder.glob("*.gguf"))


def write_file(model: LanguageModel, name: str, file: Path, type_name: str) -> tuple[str, ...]:
    """Writes a plain (merged) fp32 model.

    Args:
        type_name: number format of the matrices; vectors stay fp32.

    Returns:
        what GGUF cannot say of this model, without harm to it.

    Raises:
        ModelError: a family, setting or tokenizer that GGUF has no words for; a weight too large for fp16.
        BudgetError: no space.
    """
    import gguf

    from fairtune.models.export.gguf_families import describe, family_of
    from fairtune.models.export.gguf_tensors import file_type, stream, tensors_of
    from fairtune.models.export.gguf_vocabulary import describe_vocabulary

    config = model.network.config
    family = family_of(config)
    try:
        with contextlib.closing(gguf.GGUFWriter(str(file), family.name)) as writer:
            writer.add_name(name)
            writer.add_file_type(file_type(type_name))
            writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
            describe(writer, family, config)
            describe_vocabulary(writer, model.tokenizer, model.stops, config.vocab_size)
            stream(writer, tensors_of(model.network, family, type_name))
    except OSError as error:
        raise BudgetError(f"{file}: cannot be written: {error.strerror}; choose another disk with --output") from error
    return family.remarks(config)


def read_file(file: Path, own: Any) -> tuple[Any, tuple[str, ...]]:
    """The network of a file, in fp32. Settings that transformers' reader skips are those of the model's own config."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from fairtune.models.export.gguf_families import overlooked

    read = AutoConfig.from_pretrained(str(file.parent), gguf_file=file.name)
    lacking = overlooked(own, read)
    for key in lacking:
        setattr(read, key, getattr(own, key))
    network = AutoModelForCausalLM.from_pretrained(
        str(file.parent), gguf_file=file.name, dtype=torch.float32, config=read
    )
    helped = f"transformers' GGUF reader skips {', '.join(lacking)}; the model's own were used for the comparison"
    return network, (helped,) if lacking else ()
