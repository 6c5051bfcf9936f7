"""QLoRA: LoRA over a frozen base in four bits.

Dettmers et al. 2023, "QLoRA: Efficient Finetuning of Quantized LLMs", equation 5: the base is stored as NF4 and
de-quantised to the compute type where it is multiplied; only the matrices of LoRA are trained. ``int8`` is LoRA over
LLM.int8() (Dettmers et al. 2022). bitsandbytes and PEFT underneath.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from fairtune.methods.lora import LORA_FORMULA, LowRankOptions, attach_low_rank
from fairtune.methods.peft_tuned import restore
from fairtune.methods.protocol import Course, Method, Tuned
from fairtune.study import Precision

if TYPE_CHECKING:
    from fairtune.models.load import LanguageModel
    from fairtune.models.quantize import Quantization

QUANTIZED_START = "the base is rounded to a few bits: the first outputs are those of the quantised base"
NO_KERNELS = "bitsandbytes was never run there by this project"


class QuantizedOptions(LowRankOptions):
    """LoRA's, and the code of the frozen weights."""

    code: Literal["nf4", "fp4", "int8"] = Field(
        default="nf4", description="how frozen weights are stored; int8 rounds activations too, by the batch"
    )
    double_quantization: bool = Field(default=True, description="store the scales of nf4 and fp4 in eight bits too")
    compute: Literal["fp32", "bf16", "fp16"] | None = Field(
        default=None, description="type of products; that of the run's precision if absent"
    )


def quantization(options: Mapping[str, Any], precision: Precision) -> Quantization:
    """How the base is to be loaded."""
    import torch

    from fairtune.models.precision import COMPUTE
    from fairtune.models.quantize import Quantization

    named = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    chosen = QuantizedOptions.model_validate(options)
    compute = named[chosen.compute] if chosen.compute else COMPUTE[precision]
    return Quantization(chosen.code, chosen.double_quantization, compute)


class QloraOptions(QuantizedOptions):
    """As above."""


def _attach(model: LanguageModel, options: Mapping[str, Any], course: Course) -> Tuned:
    return attach_low_rank(model, QloraOptions.model_validate(options), course)


QLORA = Method(
    name="qlora",
    summary="LoRA over a frozen base of 4 or 8 bits",
    paper="Dettmers et al. 2023, arXiv:2305.14314",
    formula=LORA_FORMULA,
    options=QloraOptions,
    attach=_attach,
    restore=restore,
    learning_rate=2e-4,
    learning_rate_reason="the paper's, for models up to 13B",
    devices=("cpu", "cuda"),
    device_reason=NO_KERNELS,
    starts_elsewhere=QUANTIZED_START,
    quantization=quantization,
)
