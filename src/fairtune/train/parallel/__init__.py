"""Who takes part in a training: one process alone, or several that share every update."""

from fairtune.train.parallel.alone import ALONE
from fairtune.train.parallel.group import Group
from fairtune.train.parallel.join import join_ranks
from fairtune.train.parallel.parts import Part
from fairtune.train.parallel.world import World

__all__ = ["ALONE", "Group", "Part", "World", "join_ranks"]
