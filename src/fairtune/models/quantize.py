"""Frozen weights in 4 or 8 bits, by bitsandbytes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch


@dataclass(frozen=True)
class Quantization:
    """A code for frozen weights.

    ``nf4`` and ``fp4`` hold a weight in four bits with an absolute maximum for each 64 of them; ``double`` stores
    these maxima in eight bits too (Dettmers et al. 2023, section 3). ``int8`` is LLM.int8() (Dettmers et al. 2022).
    ``compute`` is the type that four-bit weights are unpacked to, and multiplied in.
    """

    code: Literal["nf4", "fp4", "int8"]
    double: bool
    compute: torch.dtype


def load_arguments(quantization: Quantization | None, device: torch.device) -> dict[str, Any]:
    """What ``from_pretrained`` has to be told."""
    if quantization is None:
        return {}
    from transformers import BitsAndBytesConfig

    if quantization.code == "int8":
        code = BitsAndBytesConfig(load_in_8bit=True)
    else:
        code = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type=quantization.code,
            bnb_4bit_use_double_quant=quantization.double,
            bnb_4bit_compute_dtype=quantization.compute,
        )
    return {"quantization_config": code, "device_map": {"": device}}


def keep_as_stored(network: torch.nn.Module) -> None:
    """Keeps bitsandbytes from packing weights anew, with scales rounded to bf16, when a CPU with AVX512-BF16 scores.

    Scores would be those of another model than the one that was trained, and depend on the machine.
    """
    for module in network.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            setattr(module, "support_avx512bf16_for_cpu", False)  # noqa: B010 - torch types attributes as modules


def let_go_of_files(network: torch.nn.Module) -> None:
    """Copies the weights that are not packed.

    They lie in their file, which is mapped, and all of it stays in memory with them (SmolLM2-135M in fp32, NF4: 389 MiB
    that nothing reads).
    """
    for parameter in network.parameters():
        if getattr(parameter, "quant_state", None) is None and parameter.is_floating_point():
            parameter.data = parameter.data.clone()


def parameter_count(parameter: torch.nn.Parameter) -> int:
    """Weights in a parameter. Four-bit weights lie two in a byte, so that ``numel`` is half of them."""
    state = getattr(parameter, "quant_state", None)
    return parameter.numel() if state is None else int(torch.Size(state.shape).numel())


def weight_bytes(parameters: Iterable[torch.nn.Parameter]) -> int:
    """Bytes of weights, with what a quantised one needs to be read."""
    # By address: tables that several layers share lie in memory once.
    found = {tensor.data_ptr(): tensor.nbytes for weight in parameters for tensor in _tensors(weight)}
    return sum(found.values())


def _tensors(parameter: torch.nn.Parameter) -> list[torch.Tensor]:
    tensors = [parameter.data]
    state = getattr(parameter, "quant_state", None)
    while state is not None:
        tensors += [state.absmax, state.code]
        state = state.state2 if getattr(state, "nested", False) else None
    scales = getattr(parameter, "SCB", None)
    return tensors if scales is None else [*tensors, scales]
