"""Learning rate by update."""

from __future__ import annotations

import math

from fairtune.study import Training


def learning_rate_at(update: int, updates: int, training: Training) -> float:
    """Rate of update ``update`` (from 0) of ``updates``: linear warm-up, then the schedule down to zero.

    Cosine as in Loshchilov & Hutter 2016 (SGDR, equation 5) without restarts.

    Raises:
        ValueError: the recipe has no learning rate.
    """
    if training.learning_rate is None:
        raise ValueError("training.learning_rate must be resolved before training")
    warm = round(training.warmup * updates)
    if update < warm:
        return training.learning_rate * (update + 1) / (warm + 1)
    done = (update - warm) / max(1, updates - warm)
    share = {"constant": 1.0, "linear": 1.0 - done, "cosine": 0.5 * (1.0 + math.cos(math.pi * done))}
    return training.learning_rate * share[training.schedule]
