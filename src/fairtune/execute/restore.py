"""A run's model, out of the files that the run left."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fairtune.errors import RecordError
from fairtune.methods import METHODS
from fairtune.models import fetch
from fairtune.models.sources import Say
from fairtune.records import RunFolder
from fairtune.study import Precision, RunSpec

if TYPE_CHECKING:
    import torch

    from fairtune.models.load import LanguageModel


def restore_run(
    spec: RunSpec,
    folder: RunFolder,
    device: torch.device,
    longest: int,
    precision: Precision | None = None,
    say: Say = print,
) -> LanguageModel:
    """The model as it was when the run was scored, an adapter not merged.

    Args:
        longest: tokens of the longest example of the task; decides how attention is computed.
        precision: another than the run's.

    Raises:
        ModelError: weights that cannot be had.
        RecordError: what the run saved is gone.
    """
    from fairtune.models.load import load_model, load_tokenizer

    adapter = adapter_of(spec, folder)
    weights = _weights(spec, folder, adapter, say)
    trusted = spec.model.trust_remote_code
    tokenizer = load_tokenizer(weights, trusted)
    model = load_model(weights, tokenizer, precision or spec.precision, device, trusted, longest)
    if adapter is not None:
        _put_on(model, adapter)
    return model


def merged_run(spec: RunSpec, folder: RunFolder, longest: int, say: Say) -> LanguageModel:
    """The run's model as one plain network in fp32, on the CPU.

    An adapter is merged in fp32 whatever the run's precision: a bf16 weight would swallow any update below 2**-9
    of itself.
    """
    import torch

    model = restore_run(spec, folder, torch.device("cpu"), longest, "fp32", say)
    if adapter_of(spec, folder) is not None:
        model.network = model.network.merge_and_unload()
        model.gate.move_to(model.network.get_output_embeddings())
    return model


def adapter_of(spec: RunSpec, folder: RunFolder) -> Path | None:
    """What a run saved, if that is to be put on its base; None where the model is whole.

    Raises:
        RecordError: it is gone.
    """
    saved = _saved(spec, folder)
    return saved if saved is not None and not (saved / "config.json").exists() else None


def _weights(spec: RunSpec, folder: RunFolder, adapter: Path | None, say: Say) -> Path:
    saved = _saved(spec, folder)
    return saved if saved is not None and adapter is None else fetch(spec.model, say)


def _saved(spec: RunSpec, folder: RunFolder) -> Path | None:
    name = METHODS[spec.method.name].artifact
    if name is None:
        return None
    if not (folder.path / name).is_dir():
        raise RecordError(
            f"run {folder.path}: what it trained ({name}/) is gone; move the folder away and run it again"
        )
    return folder.path / name


def _put_on(model: LanguageModel, adapter: Path) -> None:
    """Puts what a run trained on its base."""
    from peft import PeftModel

    model.network = PeftModel.from_pretrained(model.network, str(adapter)).eval()
    model.gate.move_to(model.network.get_output_embeddings())
