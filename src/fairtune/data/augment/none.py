"""The training examples as they are: what every augmentation is compared with."""

from __future__ import annotations

from fairtune.data.augment.protocol import Augmentation
from fairtune.study import Strict


class NoOptions(Strict):
    """There is nothing to choose."""


NONE = Augmentation(name="none", summary="the training examples as they are", paper=None, options=NoOptions)
