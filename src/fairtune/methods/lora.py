"""LoRA: a product of two thin matrices is added to each chosen weight.

Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models", equation 3:
``h = W0 x + (alpha / rank) B A x``, with ``A`` random and ``B`` zero at the start, so that the first outputs
are the base model's. Variants: rsLoRA (Kalajdzievski 2023: ``alpha / sqrt(rank)``), LoRA+ (Hayou et al. 2024: a higher
rate for ``B``), PiSSA (Meng et al. 2024) and OLoRA (Büyükakyüz 2024), which begin with the main part of ``W0`` in the
adapter and leave the rest in the base. PEFT underneath.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from fairtune.errors import Problem, SpecError
from fairtune.methods.peft_tuned import PeftTuned, restore, wrap
from fairtune.methods.protocol import Course, Method, Tuned
from fairtune.methods.targets import Targets, has_transposed, resolve, targets_field
from fairtune.study import Strict

if TYPE_CHECKING:
    from torch import Tensor

    from fairtune.models.load import LanguageModel

LORA_FORMULA = "sum(rank * (d_in + d_out) for d_in, d_out in targets) + target_biases"


class LowRankOptions(Strict):
    """Size and place of the added matrices: what every method of the LoRA family takes."""

    rank: Annotated[int, Field(ge=1)] = 16
    alpha: Annotated[float, Field(gt=0)] = 32
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    targets: Targets = targets_field("all-linear")
    bias: Literal["none", "all", "lora_only"] = Field(default="none", description="biases that are trained besides")
    rslora: bool = Field(default=False, description="scale by alpha / sqrt(rank) instead of alpha / rank")
    learning_rate_ratio: Annotated[float, Field(gt=0)] = Field(
        default=1.0, description="LoRA+: rate of B over rate of A; the paper advises about 16"
    )


class LoraOptions(LowRankOptions):
    """LoRA's own: how the matrices begin."""

    init: Literal["default", "pissa", "olora"] = Field(
        default="default",
        description="pissa and olora begin with the main part of the weight itself, and leave the rest in the base; in "
        "bf16 that rest is rounded, so that first outputs, and what is saved, are off by that rounding",
    )


class LoraTuned(PeftTuned):
    """LoRA and its variants."""

    def __init__(self, model: LanguageModel, ratio: float) -> None:
        super().__init__(model)
        self._ratio = ratio

    def rate_factor(self, name: str) -> float:
        """LoRA+: ``B`` is multiplied (Hayou et al. 2024, section 4)."""
        return self._ratio if ".lora_B." in name else 1.0


class MovedBase(LoraTuned):
    """LoRA whose start took a part out of the base weights.

    Saved relative to the base as it came: ``B A - B0 A0`` is a LoRA of twice the rank, which plain PEFT loads.
    """

    def __init__(self, model: LanguageModel, ratio: float) -> None:
        super().__init__(model, ratio)
        self._start = {name: weight.clone() for name, weight in self._adapter().items()}

    def _adapter(self) -> dict[str, Tensor]:
        from peft import get_peft_model_state_dict

        state: dict[str, Tensor] = get_peft_model_state_dict(self.model.network, save_embedding_layers=False)
        return state

    def save(self, folder: Path) -> None:
        """PEFT's layout, relative to the base as it came."""
        from safetensors.torch import save_file

        config = copy.deepcopy(self.model.network.peft_config["default"])
        config.lora_alpha *= math.sqrt(2) if config.use_rslora else 2  # with twice the rank, the same scale
        config.r *= 2
        config.init_lora_weights = True
        config.inference_mode = True
        config.save_pretrained(str(folder))
        both = {name: _beside(name, weight, self._start[name]) for name, weight in self._adapter().items()}
        save_file(both, folder / "adapter_model.safetensors", metadata={"format": "pt"})


def _beside(name: str, now: Tensor, start: Tensor) -> Tensor:
    """``[A; A0]`` and ``[B, -B0]``, whose product is ``B A - B0 A0``; a bias as it is."""
    import torch

    if ".lora_A." in name:
        return torch.cat([now, start]).contiguous()
    return torch.cat([now, -start], dim=1).contiguous() if ".lora_B." in name else now.contiguous()


def lora_config(model: LanguageModel, chosen: LowRankOptions, **extra: Any) -> Any:
    """PEFT's configuration of LoRA for a network."""
    from peft import LoraConfig

    return LoraConfig(
        r=chosen.rank,
        lora_alpha=chosen.alpha,
        lora_dropout=chosen.dropout,
        bias=chosen.bias,
        use_rslora=chosen.rslora,
        target_modules=resolve(model.network, chosen.targets),
        task_type="CAUSAL_LM",
        **extra,
    )


def attach_low_rank(model: LanguageModel, chosen: LowRankOptions, course: Course, **extra: Any) -> Tuned:
    """Adds the matrices in fp32, whatever the precision of the base."""
    wrap(model, lora_config(model, chosen, **extra), course)
    return LoraTuned(model, chosen.learning_rate_ratio)


def _attach(model: LanguageModel, options: Mapping[str, Any], course: Course) -> Tuned:
    chosen = LoraOptions.model_validate(options)
    if chosen.init == "default":
        return attach_low_rank(model, chosen, course)
    if chosen.init == "olora" and has_transposed(model.network):
        kind = type(model.network).__name__
        told = f"olora: PEFT cannot split the transposed layers of {kind}; choose init: pissa or default"
        raise SpecError([Problem("methods.lora.init", told)])
    wrap(model, lora_config(model, chosen, init_lora_weights=chosen.init), course)
    _require_room(model, chosen)
    return MovedBase(model, chosen.learning_rate_ratio)


def _require_room(model: LanguageModel, chosen: LoraOptions) -> None:
    """A weight has no more singular directions than its smaller side."""
    for name, weight in model.network.named_parameters():
        if ".lora_A." in name and len(weight) < chosen.rank:
            told = f"{chosen.rank}: a layer has {len(weight)} directions; lower it to start with {chosen.init}"
            raise SpecError([Problem("methods.lora.rank", told)])


LORA = Method(
    name="lora",
    summary="low-rank matrices beside linear layers",
    paper="Hu et al. 2021, arXiv:2106.09685",
    formula=LORA_FORMULA,
    options=LoraOptions,
    attach=_attach,
    restore=restore,
    learning_rate=2e-4,
    learning_rate_reason=(
        "about ten times the rate of full fine-tuning, since B starts at zero and few weights must do all the moving"
    ),
)
