"""How a model is adapted: one file a method, one table of names.

A new method is a new file here and a row in :data:`METHODS`.
"""

from __future__ import annotations

import logging

from fairtune.methods.adalora import ADALORA
from fairtune.methods.adapter import ADAPTER
from fairtune.methods.base import BASE
from fairtune.methods.bitfit import BITFIT
from fairtune.methods.distill import DISTILL
from fairtune.methods.dora import DORA
from fairtune.methods.freeze import FREEZE
from fairtune.methods.full import FULL
from fairtune.methods.ia3 import IA3
from fairtune.methods.lora import LORA
from fairtune.methods.peft_any import PEFT
from fairtune.methods.prefix import PREFIX
from fairtune.methods.prompt import PROMPT
from fairtune.methods.protocol import FORMULA_WORDS, Course, Method, Tuned
from fairtune.methods.ptuning import PTUNING
from fairtune.methods.qdora import QDORA
from fairtune.methods.qlora import QLORA
from fairtune.methods.vera import VERA

# PEFT imports bitsandbytes, which warns whoever runs a study that another package could download faster kernels.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        BASE,
        FULL,
        FREEZE,
        BITFIT,
        LORA,
        DORA,
        QLORA,
        QDORA,
        ADALORA,
        VERA,
        IA3,
        PREFIX,
        PROMPT,
        PTUNING,
        ADAPTER,
        DISTILL,
        PEFT,
    )
}

__all__ = ["FORMULA_WORDS", "METHODS", "Course", "Method", "Tuned"]
