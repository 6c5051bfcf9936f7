"""How a model is adapted: one file a method, one table of names.

A new method is a new file here and a row in :data:`METHODS`.
"""

from __future__ import annotations

from fairtune.methods.base import Base
from fairtune.methods.full import Full
from fairtune.methods.lora import Lora
from fairtune.methods.protocol import Method

METHODS: dict[str, Method] = {
    "base": Base(),
    "full": Full(),
    "lora": Lora(),
}

__all__ = ["METHODS", "Method"]
