"""Weights: where they come from, in which precision, on which device.

Importing this room is light; ``load``, ``device``, ``precision`` and ``likelihood`` import torch.
"""

from fairtune.cache import cache_folder
from fairtune.models.sources import describe, fetch, identify

__all__ = ["cache_folder", "describe", "fetch", "identify"]
