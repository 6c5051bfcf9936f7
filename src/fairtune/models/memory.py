"""How many tokens go through a network together when nothing is learned, and what happens where memory runs out."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import psutil
import torch

from fairtune.models.precision import COMPUTE

if TYPE_CHECKING:
    from fairtune.models.load import LanguageModel

_WORDS = ("can't allocate memory", "out of memory", "not enough memory")
# A processor's cache is best used by about so many tokens (docs/log.md); a GPU wants more (not measured: none at hand).
_MOST = {"cpu": 1024, "mps": 4096, "cuda": 16384}
_LEAST = 64
# Of the memory that is free, the share that one pass may take.
_SHARE = 0.5


def is_out_of_memory(error: BaseException) -> bool:
    """Whether it says that memory ran out, on whichever device."""
    told = isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _WORDS)
    return told or isinstance(error, MemoryError)


class TokenBudget:
    """Tokens of one pass: as many as free memory has room for, up to what is quickest; half as many if that fails."""

    def __init__(self, model: LanguageModel) -> None:
        most = _MOST.get(model.kind, _MOST["cpu"])
        room = free_bytes(model.device) if model.room is None else model.room
        fitting = int(_SHARE * room / _bytes_per_token(model))
        self.tokens = max(_LEAST, min(most, fitting))

    def fits(self, work: Callable[[], None]) -> bool:
        """Does the work. Where memory runs out it says so, and half as many tokens are tried from then on.

        Raises whatever the work raises; that memory ran out, too, once there are too few tokens to halve.
        """
        if self.tokens <= _LEAST:
            work()
            return True
        if tried(work):
            return True
        self.tokens = max(_LEAST, self.tokens // 2)
        print(f"out of memory: at most {self.tokens} tokens go through the model together now", file=sys.stderr)
        return False


def tried(work: Callable[[], None]) -> bool:
    """Does the work; False where memory ran out.

    By then nothing holds what the work had in hand any more: it went with the error.
    """
    try:
        work()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return False
    return True


def free_bytes(device: torch.device) -> int:
    """Memory that could be had on the device now."""
    if device.type == "cuda":  # written with care, not run: no GPU was at hand
        return torch.cuda.mem_get_info(device)[0]
    return int(psutil.virtual_memory().available)


def token_bytes(model: LanguageModel) -> int:
    """What keys and values of a token take in all layers together."""
    config = model.network.config.get_text_config()
    heads = int(config.num_attention_heads)
    width = int(getattr(config, "head_dim", None) or config.hidden_size // heads)
    key_heads = int(getattr(config, "num_key_value_heads", None) or heads)
    return 2 * int(config.num_hidden_layers) * key_heads * width * COMPUTE[model.precision].itemsize


def _bytes_per_token(model: LanguageModel) -> int:
    """What a token takes at the widest place of a layer, and its keys and values in all layers, from above."""
    config = model.network.config.get_text_config()
    hidden = int(config.hidden_size)
    inner = int(getattr(config, "intermediate_size", None) or 4 * hidden)
    return 4 * (3 * inner + 8 * hidden) + token_bytes(model)
