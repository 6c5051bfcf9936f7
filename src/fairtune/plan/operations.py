"""What one operation costs, whatever runs it: floating-point operations of products, and bytes that are moved."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import flop_registry

_aten = torch.ops.aten


@dataclass(frozen=True)
class Operation:
    """An operation on tensors of certain shapes.

    Attributes:
        name: torch's.
        flops: of its products; 0 for one that has none.
        moved: bytes of what it reads and writes, each once.
        shape: ``(batch, m, n, k)`` of a product ``(m, k) @ (k, n)``; None for anything else.
        type: of the numbers that are multiplied, or written.
    """

    name: str
    flops: float
    moved: int
    shape: tuple[int, int, int, int] | None
    type: torch.dtype


def operation(func: Any, args: Any, out: Any) -> Operation:
    """What is known of an operation from its arguments and its result."""
    tensors = list(_tensors([args, out]))
    moved = sum(tensor.numel() * tensor.element_size() for tensor in {id(t): t for t in tensors}.values())
    flops = _flops(func, args, out)
    kind = next((t.dtype for t in tensors if t.dtype.is_floating_point), torch.float32)
    return Operation(str(func), flops, moved, _product(func, args) if flops else None, kind)


def inner_bytes(func: Any, args: Any) -> int:
    """Memory that an operation needs for itself: what a shape function does not tell."""
    if func.namespace != "bitsandbytes" or not func._schema.name.endswith("gemm_4bit"):
        return 0
    a, shape = args[0], args[2]
    return int(math.prod(shape)) * int(a.element_size())  # the weight, unpacked


def _of_few_bits(name: str, args: Any) -> float:
    """bitsandbytes multiplies by weights that are packed: the four-bit ones ``(rows, width)`` by their stated shape."""
    if name == "gemm_4bit":
        return 2.0 * float(args[0].numel() * args[2][0])
    return 2.0 * float(args[0].numel() * args[2].shape[0]) if name == "int8_mixed_scaled_mm" else 0.0


def _flops(func: Any, args: Any, out: Any) -> float:
    if func.namespace == "bitsandbytes":
        return _of_few_bits(func._schema.name.partition("::")[2], args)
    if func in _ATTENTION:
        query, key = args[_ATTENTION[func]], args[_ATTENTION[func] + 1]
        products = 2 if "backward" not in str(func) else 5
        return 2.0 * products * float(query.numel() * key.shape[-2])
    count = flop_registry.get(func.overloadpacket)
    if count is None:
        return 0.0
    return float(count(*args, out_val=out))


# The kernels of a CPU, which torch's own counter leaves out; at which argument the queries are.
_ATTENTION = {
    _aten._scaled_dot_product_flash_attention_for_cpu.default: 0,
    _aten._scaled_dot_product_flash_attention_for_cpu_backward.default: 1,
}


def _product(func: Any, args: Any) -> tuple[int, int, int, int] | None:
    matrices = [arg for arg in args if isinstance(arg, torch.Tensor) and arg.dim() >= 2][-2:]
    if len(matrices) < 2:
        return None
    a, b = matrices
    if a.dim() != b.dim() or a.shape[-1] != b.shape[-2]:
        return None
    return (math.prod(a.shape[:-2]), int(a.shape[-2]), int(b.shape[-1]), int(a.shape[-1]))


def _tensors(values: Iterable[Any]) -> Iterator[torch.Tensor]:
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value)
