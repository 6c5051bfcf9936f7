"""Takes this process into the group that the launcher announced in the environment."""

from __future__ import annotations

import datetime
import os

import torch
import torch.distributed as dist

from fairtune.study import Parallel
from fairtune.train.parallel.group import ProcessGroup
from fairtune.train.parallel.replicated import Replicated
from fairtune.train.parallel.world import World

# A process that dies is noticed by the launcher at once. This is for one that lives and does nothing: loading, which
# takes others' time too (a teacher, a cache that one fills), must fit into it.
_PATIENCE = datetime.timedelta(hours=6)


def join_ranks(parallel: Parallel, device: torch.device) -> World:
    """The strategy of this process. gloo between CPUs; between GPUs nccl, which was not run: none was at hand."""
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=_PATIENCE)
    group = ProcessGroup(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    if parallel.strategy == "ddp":
        return Replicated(group)
    from fairtune.train.parallel.sharded import Sharded  # a second and a half of imports

    return Sharded(group, parallel.offload)
