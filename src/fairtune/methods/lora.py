"""LoRA: a product of two thin matrices is added to each chosen weight.

Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models", equation 3:
``h = W0 x + (alpha / rank) B A x``, with ``A`` random and ``B`` zero at the start, so that the first outputs
are the base model's. PEFT underneath; trained parameters: ``rank * (d_in + d_out)`` for each target.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from fairtune.errors import Problem, SpecError
from fairtune.study import Precision, Strict

if TYPE_CHECKING:
    from fairtune.models.load import LanguageModel


class LoraOptions(Strict):
    """Size and place of the added matrices."""

    rank: Annotated[int, Field(ge=1)] = 16
    alpha: Annotated[float, Field(gt=0)] = 32
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    targets: str | list[str] = Field(
        default="all-linear", description="names of linear layers, or all-linear (all but the output layer)"
    )


class Lora:
    """Two thin matrices beside each chosen linear layer are trained; the base stays frozen."""

    name = "lora"
    summary = "low-rank matrices beside linear layers"
    paper: str | None = "Hu et al. 2021, arXiv:2106.09685"
    trains = True
    options: type[Strict] = LoraOptions
    default_learning_rate: float | None = 2e-4
    learning_rate_reason: str | None = (
        "about ten times the rate of full fine-tuning, since B starts at zero and few weights must do all the moving"
    )
    devices: tuple[str, ...] = ("cpu", "cuda", "mps")
    precisions: tuple[Precision, ...] = ("fp32", "bf16")
    artifact: str | None = "adapter"

    def attach(self, model: LanguageModel, options: dict[str, Any], seed: int) -> None:
        """Adds the matrices in fp32, whatever the precision of the base: small updates must not vanish."""
        import torch
        from peft import LoraConfig, get_peft_model

        chosen = LoraOptions.model_validate(options)
        config = LoraConfig(
            r=chosen.rank,
            lora_alpha=chosen.alpha,
            lora_dropout=chosen.dropout,
            target_modules=chosen.targets,
            task_type="CAUSAL_LM",
        )
        torch.manual_seed(seed)
        try:
            model.network = get_peft_model(model.network, config)
        except ValueError as error:
            raise SpecError([Problem("methods.lora.targets", f"{chosen.targets!r}: {error}")]) from error

    def save(self, model: LanguageModel, folder: Path) -> None:
        """PEFT's own layout: adapter_config.json and adapter_model.safetensors."""
        model.network.save_pretrained(str(folder))

    @contextlib.contextmanager
    def scoring(self, model: LanguageModel) -> Iterator[None]:
        """Merged where that is exact to rounding.

        Not in bf16: a bf16 weight swallows any update below 2**-9 of itself, so the merged model would be another.
        """
        if model.precision != "fp32":
            yield
            return
        model.network.merge_adapter()
        try:
            yield
        finally:
            model.network.unmerge_adapter()
