"""A model's weights under their GGUF names, in the layout llama.cpp computes with."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gguf
import numpy as np
import torch

from fairtune.errors import ModelError
from fairtune.models.export.gguf_families import Family, rope_factors

_QUANTIZED = {"f16": gguf.GGMLQuantizationType.F16, "q8_0": gguf.GGMLQuantizationType.Q8_0}
_FILE_TYPES = {"f16": gguf.LlamaFileType.MOSTLY_F16, "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0}
_LARGEST_F16 = 65504.0


def file_type(type_name: str) -> int:
    """The number that says which format most of a file's weights have."""
    return int(_FILE_TYPES[type_name])


@dataclass(frozen=True)
class Stored:
    """A tensor on its way into the file."""

    name: str
    weights: torch.Tensor
    kind: gguf.GGMLQuantizationType

    @property
    def nbytes(self) -> int:
        """Bytes in the file; a quantised row is a row of blocks."""
        return math.prod(gguf.quant_shape_to_byte_shape(tuple(self.weights.shape), self.kind))

    def rounded(self) -> np.ndarray[Any, Any]:
        """The numbers in their format.

        Raises:
            ModelError: one is too large for fp16.
        """
        numbers = self.weights.float().contiguous().numpy()
        if self.kind == gguf.GGMLQuantizationType.F16 and np.abs(numbers).max(initial=0) > _LARGEST_F16:
            raise ModelError(f"{self.name}: holds numbers beyond {_LARGEST_F16:g}, which fp16 cannot; use --to merged")
        return np.asarray(gguf.quantize(numbers, self.kind))


def tensors_of(network: Any, family: Family, type_name: str) -> list[Stored]:
    """Every tensor of a plain model. An output layer that is the embedding again is left out, as GGUF has it.

    Raises:
        ModelError: a weight that the family has no name for.
    """
    config = network.config
    names = gguf.get_tensor_name_map(_architecture(family.name), config.num_hidden_layers)
    found = []
    factors = rope_factors(config)
    if factors is not None:
        found.append(Stored("rope_freqs.weight", factors, gguf.GGMLQuantizationType.F32))
    for own, weights in _own_weights(network):
        name = names.get_name(own, try_suffixes=(".weight", ".bias"))
        if name is None:
            raise ModelError(f"GGUF has no name for {own} in the family '{family.name}'; use --to merged")
        laid_out = family.lay_out(name, weights.detach(), config)
        found.append(Stored(name, laid_out, _kind(laid_out, type_name)))
    return found


def _own_weights(network: Any) -> Iterator[tuple[str, torch.Tensor]]:
    tied = network.get_output_embeddings().weight is network.get_input_embeddings().weight
    output = next(name for name, module in network.named_modules() if module is network.get_output_embeddings())
    for name, weights in network.state_dict().items():
        if not (tied and name == f"{output}.weight"):
            yield name, weights


def _kind(weights: torch.Tensor, type_name: str) -> gguf.GGMLQuantizationType:
    """Vectors stay fp32: they are few, and llama.cpp wants them so. A row that is no whole number of blocks is fp16."""
    if weights.dim() < 2:
        return gguf.GGMLQuantizationType.F32
    kind = _QUANTIZED[type_name]
    block = gguf.GGML_QUANT_SIZES[kind][0]
    return kind if weights.shape[-1] % block == 0 else gguf.GGMLQuantizationType.F16


def _architecture(name: str) -> gguf.MODEL_ARCH:
    return next(kind for kind, known in gguf.MODEL_ARCH_NAMES.items() if known == name)


def stream(writer: gguf.GGUFWriter, tensors: list[Stored]) -> None:
    """Announces every tensor, then writes each in turn."""
    for tensor in tensors:
        # The dtype given here counts for nothing beside raw_dtype, but that bytes would mean a shape in bytes.
        numbers = np.dtype(np.float32)
        writer.add_tensor_info(tensor.name, tensor.weights.shape, numbers, tensor.nbytes, raw_dtype=tensor.kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for tensor in tensors:
        writer.write_tensor_data(tensor.rounded())
