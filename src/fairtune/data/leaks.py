"""Test items that stand in the training data."""

from __future__ import annotations

from collections.abc import Iterable

from fairtune.data.examples import Example, leak_key


def overlap(train: Iterable[Example], held_out: Iterable[Example]) -> list[str]:
    """Ids of held-out examples whose question, folded, is asked in training too."""
    seen = {leak_key(example) for example in train}
    return [example.id for example in held_out if leak_key(example) in seen]
