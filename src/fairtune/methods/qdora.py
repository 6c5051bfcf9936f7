"""QDoRA: DoRA over a frozen base in four bits.

Dettmers et al. 2023 (QLoRA) for the base, Liu et al. 2024 (DoRA, equation 5) for what is trained; the magnitudes begin
as the norms of the de-quantised weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fairtune.methods.dora import DORA_FORMULA
from fairtune.methods.lora import attach_low_rank
from fairtune.methods.peft_tuned import restore
from fairtune.methods.protocol import Course, Method, Tuned
from fairtune.methods.qlora import NO_KERNELS, QUANTIZED_START, QuantizedOptions, quantization

if TYPE_CHECKING:
    from fairtune.models.load import LanguageModel


class QdoraOptions(QuantizedOptions):
    """As QLoRA's."""


def _attach(model: LanguageModel, options: Mapping[str, Any], course: Course) -> Tuned:
    return attach_low_rank(model, QdoraOptions.model_validate(options), course, use_dora=True)


QDORA = Method(
    name="qdora",
    summary="DoRA over a frozen base of 4 or 8 bits",
    paper="Dettmers et al. 2023, arXiv:2305.14314; Liu et al. 2024, arXiv:2402.09353",
    formula=DORA_FORMULA,
    options=QdoraOptions,
    attach=_attach,
    restore=restore,
    learning_rate=2e-4,
    learning_rate_reason="as for QLoRA",
    devices=("cpu", "cuda"),
    device_reason=NO_KERNELS,
    starts_elsewhere=QUANTIZED_START,
    quantization=quantization,
)
