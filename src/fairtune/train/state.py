"""What has to be kept of a training under way, and its form on disk: safetensors and JSON, no pickle."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open


@dataclass(frozen=True)
class State:
    """Tensors by name, and the rest as JSON can say it."""

    tensors: Mapping[str, torch.Tensor] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, **parts: State) -> State:
        """Several states as one; :meth:`part` gives each back."""
        tensors = {f"{part}/{name}": tensor for part, state in parts.items() for name, tensor in state.tensors.items()}
        return cls(tensors, {part: state.facts for part, state in parts.items()})

    def part(self, name: str) -> State:
        """One of the states this one was made of."""
        return State(_Within(self.tensors, f"{name}/"), self.facts[name])


class _Within(Mapping[str, torch.Tensor]):
    """The tensors whose names begin alike, by the rest of their names."""

    def __init__(self, whole: Mapping[str, torch.Tensor], prefix: str) -> None:
        self._whole, self._prefix = whole, prefix
        self._names = [name.removeprefix(prefix) for name in whole if name.startswith(prefix)]

    def __getitem__(self, name: str) -> torch.Tensor:
        return self._whole[self._prefix + name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class TensorFile(Mapping[str, torch.Tensor]):
    """The tensors of a safetensors file, each mapped when it is asked for and let go with its last use.

    A file that is mapped as a whole counts as memory of the process, page by page as it is read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with safe_open(path, framework="pt") as file:
            self._names = list(file.keys())

    def __getitem__(self, name: str) -> torch.Tensor:
        with safe_open(self._path, framework="pt") as file:
            tensor: torch.Tensor = file.get_tensor(name)
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def random_state(device: torch.device) -> State:
    """Where torch's sources of chance stand: the processor's, and the device's."""
    tensors = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":  # written with care, not run: no GPU was at hand
        tensors["cuda"] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        tensors["mps"] = torch.mps.get_rng_state()
    return State(tensors)


def restore_random(state: State, device: torch.device) -> None:
    """Puts torch's sources of chance where they stood."""
    torch.set_rng_state(state.tensors["cpu"].clone())
    if device.type == "cuda":
        torch.cuda.set_rng_state(state.tensors["cuda"].clone(), device)
    elif device.type == "mps":
        torch.mps.set_rng_state(state.tensors["mps"].clone())


_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> str:
    """A safetensors file, on the disk when this returns; gives its SHA-256.

    The library's own writer wants all tensors on the host at once, and its file would have to be read again for the
    hash. Here one tensor at a time leaves the device. Layout: https://github.com/huggingface/safetensors#format; wide
    numbers come first, so that each lies at a multiple of its size.
    """
    running = hashlib.sha256()
    with path.open("wb") as file:
        for block in _blocks(tensors):
            file.write(block)
            running.update(block)
        file.flush()
        os.fsync(file.fileno())
    return running.hexdigest()


def _blocks(tensors: Mapping[str, torch.Tensor]) -> Iterator[memoryview]:
    """Length of the header, the header, and the bytes of each tensor."""
    forms = {name: (tensor.dtype, list(tensor.shape)) for name, tensor in tensors.items()}
    ordered = sorted(forms, key=lambda name: (-forms[name][0].itemsize, name))
    header, end = {}, 0
    for name in ordered:
        (kind, shape), start = forms[name], end
        end += math.prod(shape) * kind.itemsize
        header[name] = {"dtype": _NAMES[kind], "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    yield memoryview(len(text).to_bytes(8, "little"))
    yield memoryview(text)
    for name in ordered:
        yield tensors[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
