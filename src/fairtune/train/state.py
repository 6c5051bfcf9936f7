"""What has to be kept of a training under way, and its form on disk: safetensors and JSON, no pickle."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch


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
        prefix = f"{name}/"
        tensors = {key.removeprefix(prefix): tensor for key, tensor in self.tensors.items() if key.startswith(prefix)}
        return State(tensors, self.facts[name])


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
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0]))
    running = hashlib.sha256()
    with path.open("wb") as file:
        for block in _blocks(ordered):
            file.write(block)
            running.update(block)
        file.flush()
        os.fsync(file.fileno())
    return running.hexdigest()


def _blocks(ordered: list[tuple[str, torch.Tensor]]) -> Iterator[memoryview]:
    """Length of the header, the header, and the bytes of each tensor."""
    header, end = {}, 0
    for name, tensor in ordered:
        start, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    yield memoryview(len(text).to_bytes(8, "little"))
    yield memoryview(text)
    for _, tensor in ordered:
        yield tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
