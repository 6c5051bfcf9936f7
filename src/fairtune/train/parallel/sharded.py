"""fsdp: weights, gradients and optimizer state are divided among processes (FSDP2, ``fully_shard``).

Rajbhandari et al. 2020, "ZeRO: Memory Optimizations Toward Training Trillion Parameter Models", stage 3. A layer's
weights are brought together before it computes, and let go after. What is trained is divided as fp32: the shard is the
optimizer's master copy. Gradients are added up in fp32 after every backward pass, so that none lies anywhere whole.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, FSDPModule, MixedPrecisionPolicy, OffloadPolicy, fully_shard

from fairtune.data import Encoded
from fairtune.methods import Tuned
from fairtune.methods.targets import blocks
from fairtune.models.precision import COMPUTE
from fairtune.models.rows import Batching
from fairtune.train.parallel.group import ProcessGroup
from fairtune.train.parallel.parts import Part, divided
from fairtune.train.parallel.same import require_same_weights
from fairtune.train.parallel.shards import whole_of


class Sharded:
    """Every process holds a share of every weight, so all must compute the same layers at the same time."""

    keeps = True

    def __init__(self, group: ProcessGroup, offload: bool) -> None:
        self.group = group
        self._offload = offload

    def wrap(self, tuned: Tuned) -> None:
        """Divides each transformer layer by itself, and the rest (embeddings, often tied) as one.

        Raises:
            ModelError: the processes begin with different weights.
        """
        network = tuned.model.network
        require_same_weights(network, self.group)
        policy = _policy(tuned)
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
        mesh = init_device_mesh(tuned.model.device.type, (self.group.ranks,))
        offload = CPUOffloadPolicy() if self._offload else OffloadPolicy()
        for layer in [*blocks(network)[1], network]:
            fully_shard(layer, mesh=mesh, mp_policy=policy, offload_policy=offload)
        for module in network.modules():
            if isinstance(module, FSDPModule):
                # The loss is a mean over all tokens of the update already: sums, not means over processes.
                module.set_gradient_divide_factor(1.0)
                module.set_force_sum_reduction_for_comms(True)
        # The output layer's weight is whole only while the network itself computes.
        tuned.model.batching = replace(tuned.model.batching, fused=False)

    def parts(self, examples: Sequence[Encoded], batching: Batching) -> Iterator[Part]:
        """As many for every process: a pass that only some make would wait for ever."""
        return divided(examples, self.group.ranks, self.group.rank, batching, even=True)

    def reduce(self, tensors: Sequence[Tensor]) -> None:
        """Done in every backward pass."""

    def whole(self, tuned: Tuned, again: Callable[[], Tuned]) -> Tuned:
        """Rank 0 opens the model anew, undivided, and puts what was trained into it."""
        trained = self._gathered(tuned.model.network)
        if self.group.rank:
            return tuned
        tuned.model.network = nn.Module()
        gc.collect()
        fresh = again()
        with torch.no_grad():
            for name, parameter in fresh.model.network.named_parameters():
                if parameter.requires_grad:
                    parameter.copy_(trained.pop(name))
        return fresh

    @torch.no_grad()
    def _gathered(self, network: nn.Module) -> dict[str, Tensor]:
        """Trained weights in the memory of rank 0's host; one at a time elsewhere."""
        gathered = {}
        for name, parameter in network.named_parameters():
            if parameter.requires_grad:
                weight = whole_of(parameter)
                if self.group.rank == 0:
                    gathered[name] = weight.cpu()
        return gathered


def _policy(tuned: Tuned) -> MixedPrecisionPolicy:
    """Weights that are the model's own compute in its type, as undivided ones do; fp32 adapters by autocast, too."""
    own = any(weight.dtype != torch.float32 for weight in tuned.model.network.parameters() if weight.requires_grad)
    return MixedPrecisionPolicy(
        param_dtype=COMPUTE[tuned.model.precision] if own else None,
        reduce_dtype=torch.float32,
        cast_forward_inputs=False,
    )
