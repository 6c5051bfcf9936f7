"""fairtune: find out which fine-tune of a language model is really better, on the hardware you have.

Importing this imports nothing heavy.
"""

from fairtune.errors import (
    BudgetError,
    DataError,
    DivergedError,
    FairtuneError,
    ModelError,
    RecordError,
    SpecError,
)

__version__ = "0.1.0"

__all__ = [
    "BudgetError",
    "DataError",
    "DivergedError",
    "FairtuneError",
    "ModelError",
    "RecordError",
    "SpecError",
    "__version__",
]
