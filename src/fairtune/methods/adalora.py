"""AdaLoRA: the rank is spent where it matters.

Zhang et al. 2023, "AdaLoRA: Adaptive Budget Allocation for Parameter-Efficient Fine-Tuning", equation 3:
``W = W0 + P diag(E) Q``. Training begins with ``initial_rank`` everywhere; singular values of small importance
(equations 8 to 11) are set to zero along a cubic schedule until ``rank`` remain on average, and a penalty keeps P and
Q orthogonal (equation 4). PEFT underneath.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, model_validator

from fairtune.methods.peft_tuned import PeftTuned, restore, wrap
from fairtune.methods.protocol import Course, Method, Tuned
from fairtune.methods.targets import Targets, resolve, targets_field
from fairtune.study import Strict

if TYPE_CHECKING:
    from torch import Tensor

    from fairtune.models.load import LanguageModel


class AdaloraOptions(Strict):
    """Ranks, and when they shrink."""

    rank: Annotated[int, Field(ge=1)] = Field(default=8, description="on average, at the end")
    initial_rank: Annotated[int, Field(ge=1)] = Field(default=12, description="of every target, at the start")
    alpha: Annotated[float, Field(gt=0)] = 32
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    targets: Targets = targets_field("all-linear")
    warmup_share: Annotated[float, Field(ge=0, lt=0.5)] = Field(default=0.1, description="of updates before it shrinks")
    final_share: Annotated[float, Field(ge=0, lt=0.5)] = Field(default=0.3, description="of updates after it")
    orthogonality: Annotated[float, Field(ge=0)] = Field(default=0.5, description="weight of the penalty")

    @model_validator(mode="after")
    def _shrinks(self) -> AdaloraOptions:
        if self.initial_rank < self.rank:
            raise ValueError(f"initial_rank {self.initial_rank} is below rank {self.rank}; ranks only shrink")
        return self


class AdaloraTuned(PeftTuned):
    """Prunes after every update."""

    def __init__(self, model: LanguageModel, weight: float) -> None:
        super().__init__(model)
        self._weight = weight

    def penalty(self) -> Tensor | None:
        """Mean over the matrices of ``||P^T P - I||`` (Frobenius), times the weight, as PEFT takes it."""
        import torch

        grams = [
            factor @ factor.T if "lora_A" in name else factor.T @ factor
            for name, factor in self.model.network.named_parameters()
            if "lora_A" in name or "lora_B" in name
        ]
        distances = [torch.linalg.matrix_norm(gram - torch.eye(len(gram), device=gram.device)) for gram in grams]
        return self._weight * torch.stack(distances).mean() if self._weight else None

    def updated(self, done: int) -> None:
        """Weighs the singular values by this update's gradients, and zeroes the least."""
        self.model.network.base_model.update_and_allocate(done)

    def kept(self) -> Any:
        """Which singular values are left: saving drops the others."""
        return copy.deepcopy(self.model.network.peft_config["default"].rank_pattern)

    def put_back(self, kept: Any) -> None:
        """Of an epoch before the last pruning, more are left."""
        self.model.network.peft_config["default"].rank_pattern = kept

    def gathered(self) -> dict[str, Tensor]:
        """Smoothed sensitivity and uncertainty of every weight (the paper's equations 9 and 10)."""
        allocator = self.model.network.base_model.rankallocator
        return {
            f"{kind}/{name}": tensor
            for kind, tensors in (("sensitivity", allocator.exp_avg_ipt), ("uncertainty", allocator.exp_avg_unc))
            for name, tensor in tensors.items()
        }

    def go_on_with(self, gathered: Mapping[str, Tensor]) -> None:
        """Importance goes on from where it stood."""
        allocator = self.model.network.base_model.rankallocator
        device = self.model.device
        for key, tensor in gathered.items():
            kind, _, name = key.partition("/")
            held = allocator.exp_avg_ipt if kind == "sensitivity" else allocator.exp_avg_unc
            held[name] = tensor.clone().to(device)
            # PEFT begins anew with a name that it does not find here. The value itself is replaced before it is read.
            allocator.ipt[name] = held[name]

    def save(self, folder: Path) -> None:
        """PEFT's layout; ranks that were pruned are not written."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=UserWarning, module="peft")
            super().save(folder)


def _attach(model: LanguageModel, options: Mapping[str, Any], course: Course) -> Tuned:
    from peft import AdaLoraConfig

    chosen = AdaloraOptions.model_validate(options)
    total = max(course.updates, 3)  # PEFT wants at least one update for each part of the schedule
    config = AdaLoraConfig(
        init_r=chosen.initial_rank,
        target_r=chosen.rank,
        tinit=round(chosen.warmup_share * total),
        tfinal=round(chosen.final_share * total),
        deltaT=1,
        total_step=total,
        orth_reg_weight=chosen.orthogonality or 1e-9,
        lora_alpha=chosen.alpha,
        lora_dropout=chosen.dropout,
        target_modules=resolve(model.network, chosen.targets),
        task_type="CAUSAL_LM",
    )
    wrap(model, config, course)
    return AdaloraTuned(model, chosen.orthogonality)


ADALORA = Method(
    name="adalora",
    summary="singular values and vectors beside linear layers, pruned while training",
    paper="Zhang et al. 2023, arXiv:2303.10512",
    formula="sum(initial_rank * (d_in + d_out + 1) for d_in, d_out in targets)",
    options=AdaloraOptions,
    attach=_attach,
    restore=restore,
    not_sharded="its penalty and its pruning look at whole matrices between the backward pass and the update",
    learning_rate=1e-3,
    learning_rate_reason="the middle of the paper's range; the singular values start at zero",
)
