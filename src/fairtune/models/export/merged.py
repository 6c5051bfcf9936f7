"""``merged``: one ordinary model folder, as ``save_pretrained`` lays it out, for every tool that reads those."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fairtune.models.export.merging import require_mergeable
from fairtune.models.export.protocol import Finished

if TYPE_CHECKING:
    import torch

    from fairtune.models.load import LanguageModel


class Merged:
    """Merged in fp32, then cast once to the type of the run's weights."""

    summary = "one model folder of safetensors, the adapter merged into the weights"
    types: tuple[str, ...] = ()

    def require(self, run: Finished) -> None:
        """Prompts and the like are no change of weights."""
        require_mergeable(run)

    def write(self, run: Finished, folder: Path, type_name: str) -> tuple[str, ...]:
        """Model, tokenizer, and how the model's makers would sample from it."""
        from fairtune.models.precision import WEIGHTS

        model = run.merged()
        model.network.to(WEIGHTS[run.spec.precision])
        model.save(folder)
        return ()

    def load(self, run: Finished, folder: Path, device: torch.device) -> tuple[LanguageModel, tuple[str, ...]]:
        """As any model folder, in the run's precision."""
        from fairtune.models.load import load_model, load_tokenizer

        tokenizer = load_tokenizer(folder, run.spec.model.trust_remote_code)
        choice = run.spec.model.trust_remote_code, run.longest
        return load_model(folder, tokenizer, run.spec.precision, device, *choice), ()
