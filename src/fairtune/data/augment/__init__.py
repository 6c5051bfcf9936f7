"""Changed copies of training examples: one file a kind, one table of names.

A new kind is a new file here and a row in :data:`AUGMENTATIONS`.
"""

from __future__ import annotations

from fairtune.data.augment.back_translation import BACK_TRANSLATION
from fairtune.data.augment.eda import EDA
from fairtune.data.augment.editor import Instruction
from fairtune.data.augment.mask import MASK
from fairtune.data.augment.none import NONE
from fairtune.data.augment.protocol import Augmentation, Tools
from fairtune.data.augment.text_level import add_examples
from fairtune.data.augment.token_dropout import TOKEN_DROPOUT
from fairtune.data.augment.token_level import add_encoded
from fairtune.data.augment.translator import Translator
from fairtune.data.augment.variants import Added

AUGMENTATIONS: dict[str, Augmentation] = {
    kind.name: kind for kind in (NONE, EDA, BACK_TRANSLATION, MASK, TOKEN_DROPOUT)
}

__all__ = [
    "AUGMENTATIONS",
    "Added",
    "Augmentation",
    "Instruction",
    "Tools",
    "Translator",
    "add_encoded",
    "add_examples",
]
