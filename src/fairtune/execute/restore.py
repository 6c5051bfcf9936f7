"""A run's model, out of the files that the run left."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairtune.errors import ModelError, RecordError
from fairtune.execute.items import own_splits, training_texts
from fairtune.methods import METHODS, Tuned
from fairtune.models import fetch
from fairtune.models.sources import Say
from fairtune.records import RunFolder
from fairtune.study import RunSpec

if TYPE_CHECKING:
    import torch

    from fairtune.models.load import LanguageModel

WHOLE = "model"
"""The artifact of a method that saves a model which needs no base."""


def open_base(spec: RunSpec, weights: Path | None, tokenizer: Any, device: torch.device, longest: int) -> LanguageModel:
    """The model that a run begins with, in its precision, or in the code that its method wants.

    Args:
        weights: what ``fetch`` gave for the model.
        longest: tokens of the longest example of the task; decides how attention is computed.
    """
    from fairtune.models.opening import open_model

    code = METHODS[spec.method.name].quantization(spec.method.options, spec.precision)
    return open_model(spec.model, weights, tokenizer, spec.precision, device, longest, spec.seed, code)


def restore_run(
    spec: RunSpec,
    folder: RunFolder,
    device: torch.device,
    longest: int,
    say: Say = print,
    adapter: Path | None = None,
) -> Tuned:
    """The model as it was when the run was scored, an adapter not merged.

    Args:
        longest: tokens of the longest example of the task; decides how attention is computed.
        adapter: a copy of what the run saved, to be put on the base instead.

    Raises:
        ModelError: weights that cannot be had.
        RecordError: what the run saved is gone.
    """
    from fairtune.models.load import load_model

    method, saved = METHODS[spec.method.name], saved_by(spec, folder)
    tokenizer = tokenizer_of(spec, folder, say)
    if is_whole(spec) and saved is not None:
        model = load_model(saved, tokenizer, spec.precision, device, spec.model.trust_remote_code, longest)
    else:
        model = open_base(spec, fetch(spec.model, say), tokenizer, device, longest)
    source = adapter or saved
    tuned = Tuned(model) if source is None else method.restore(model, spec.method.options, source)
    model.network.requires_grad_(False).eval()
    return tuned


def merged_run(spec: RunSpec, folder: RunFolder, longest: int, say: Say) -> LanguageModel:
    """The run's model as one plain network in fp32, on the CPU.

    An adapter is merged in fp32 whatever the run's precision: a bf16 weight would swallow any update below 2**-9
    of itself. A quantised base is de-quantised first: NF4 and FP4 compute with just these weights; int8 rounds the
    activations too, which no plain weight can say.

    Raises:
        ModelError: the adapter lies on a weight that is two layers at once.
    """
    import torch

    cpu, method = torch.device("cpu"), METHODS[spec.method.name]
    exact = spec.model_copy(update={"precision": "fp32"})
    adapter = adapter_of(spec, folder)
    if adapter is None:
        return restore_run(exact, folder, cpu, longest, say).model
    model = open_base(exact, fetch(spec.model, say), tokenizer_of(spec, folder, say), cpu, longest)
    if method.quantization(spec.method.options, spec.precision) is not None:
        model.network = model.network.dequantize().float()
    tuned = method.restore(model, spec.method.options, adapter)
    if not tuned.mergeable:
        raise ModelError(
            f"run {spec.run_id} ({spec.method.label}): its adapter lies on a weight that two layers share (tied "
            "embeddings), or cannot be merged; use --to adapter"
        )
    model.network = model.network.merge_and_unload()
    model.gate.move_to(model.network.get_output_embeddings())
    return model


def tokenizer_of(spec: RunSpec, folder: RunFolder, say: Say) -> Any:
    """The tokenizer that the run had."""
    from fairtune.models.load import load_tokenizer
    from fairtune.models.opening import open_tokenizer

    saved = saved_by(spec, folder)
    if saved is not None and is_whole(spec):
        return load_tokenizer(saved, spec.model.trust_remote_code)
    return open_tokenizer(spec.model, fetch(spec.model, say), _texts(spec))


def _texts(spec: RunSpec) -> Iterator[str]:
    """Read only for a tokenizer that was made from them."""
    yield from training_texts(own_splits(spec))


def is_whole(spec: RunSpec) -> bool:
    """Whether the run saved a model that needs no base."""
    return METHODS[spec.method.name].acting(spec.method.options).artifact == WHOLE


def adapter_of(spec: RunSpec, folder: RunFolder) -> Path | None:
    """What a run saved, if that is to be put on its base; None where the model is whole, or untouched.

    Raises:
        RecordError: it is gone.
    """
    return None if is_whole(spec) else saved_by(spec, folder)


def saved_by(spec: RunSpec, folder: RunFolder) -> Path | None:
    """Where the run left what it trained; None where it trained nothing.

    Raises:
        RecordError: it is gone.
    """
    name = METHODS[spec.method.name].acting(spec.method.options).artifact
    if name is None:
        return None
    if not (folder.path / name).is_dir():
        raise RecordError(
            f"run {folder.path}: what it trained ({name}/) is gone; move the folder away and run it again"
        )
    return folder.path / name
