"""The training step of other systems, each decision a switch, as it is simulated for ``benchmarks/published.py``."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn import functional

from fairtune.models.quantize import Quantization
from fairtune.plan.allocators.cuda import CUBLAS_WORKSPACE, CudaCachingAllocator
from fairtune.plan.cuda_choices import choices_of
from fairtune.plan.ledger import ACTIVATIONS, ADAPTER, GRADIENTS, OPTIMIZER, WEIGHTS, Ledger
from fairtune.plan.model import Blueprint, describe, fill
from fairtune.plan.phantom import Simulation
from fairtune.plan.replay import Peak, replay

_CHUNK = 128


@dataclass(frozen=True)
class Recipe:
    """A step of somebody's, as far as memory goes.

    Attributes:
        config: transformers' configuration.
        adapter: PEFT's configuration; None where the weights themselves are trained, or nothing is.
        weights: type of the weights that are stored in full.
        trained: type of what is trained, of its gradients and moments.
        loss: a name in ``LOSSES``.
        checkpointing: None, or whether checkpoints are the re-entrant kind.
        padded: whether a mask of padding is given, which CUDA's flash attention does not take.
        norms_in_fp32: False where norms are computed in the type of the activations.
        caches: whether keys and values of the pass are returned, too.
        joint: whether query, key and value come from one projection.
        upcast: whether norms, embedding and output layer of a quantised model are made fp32
            (``prepare_model_for_kbit_training``).
        accumulates: whether a step has several passes, so that gradients are there when the next one begins.
        forgets: whether gradients are gone when a step ends, not only when the next one begins.
        empties_cache: whether the allocator gives back what is free before the step that is looked at.
    """

    config: Any
    rows: int
    length: int
    adapter: Any = None
    quantization: Quantization | None = None
    weights: torch.dtype = torch.bfloat16
    trained: torch.dtype = torch.float32
    optimizer: Mapping[str, bool] = field(default_factory=lambda: {"foreach": True})
    loss: str = "whole"
    checkpointing: bool | None = None
    attention: str = "sdpa"
    autocast: bool = False
    padded: bool = False
    caches: bool = False
    norms_in_fp32: bool = True
    joint: bool = False
    upcast: bool = False
    accumulates: bool = False
    forgets: bool = True
    empties_cache: bool = False
    trains: bool = True
    workspace: int = CUBLAS_WORKSPACE


class Live:
    """torch's allocator, asked for ``memory_allocated`` and not for ``memory_reserved``."""

    def __init__(self) -> None:
        self._inner = CudaCachingAllocator()
        self.allocate, self.free, self.trim = self._inner.allocate, self._inner.free, self._inner.trim

    @property
    def reserved(self) -> int:
        """Bytes given out."""
        return self._inner.allocated


@dataclass(frozen=True)
class Found:
    """The peaks of a phase: of bytes given out, and of bytes held."""

    allocated: Peak
    reserved: Peak


def simulated(recipe: Recipe) -> Found:
    """Two steps of a recipe (moments are made in the first), or a forward pass that is not learned from."""
    blueprint = Blueprint(
        recipe.config,
        "fp32" if recipe.weights == torch.float32 else "bf16",
        recipe.quantization,
        "cuda",
        recipe.length,
    )
    recipe.config._attn_implementation = recipe.attention
    network = describe(blueprint)
    ledger = Ledger(network.get_input_embeddings().num_embeddings)
    with Simulation(ledger), choices_of("cuda"):
        with ledger.phase("load", WEIGHTS):
            network = _adapted(fill(network, blueprint).network, recipe, ledger)
        phase = "train" if recipe.trains else "evaluate"
        if not recipe.norms_in_fp32:
            _compute_norms_plainly(network)
        if recipe.joint:
            _join_projections(network)
        with ledger.phase(phase):
            workspace = torch.empty(recipe.workspace, dtype=torch.float8_e5m2)  # asked of the allocator as all else is
            step = _stepping(network, recipe, ledger) if recipe.trains else lambda: _pass(network, recipe)
            step()
            if not recipe.empties_cache:
                step()
        if recipe.empties_cache:
            with ledger.phase(phase):  # when it begins, the allocator gives back what is free
                step()
        del workspace
    trace = ledger.trace
    return Found(replay(trace, Live())[phase], replay(trace, CudaCachingAllocator())[phase])


def _adapted(network: Any, recipe: Recipe, ledger: Ledger) -> Any:
    from peft import get_peft_model

    if not recipe.trains:
        return network
    network.train()
    if recipe.adapter is None:
        return network.requires_grad_(True)
    if recipe.upcast:
        _upcast(network)
    ledger.begin(ADAPTER)
    network = get_peft_model(network, recipe.adapter, autocast_adapter_dtype=recipe.trained == torch.float32)
    for weight in network.parameters():
        if weight.requires_grad and weight.dtype != recipe.trained:
            weight.data = weight.data.to(recipe.trained)
    if recipe.checkpointing is not None:
        network.enable_input_require_grads()
    return network


def _upcast(network: Any) -> None:
    for weight in network.parameters():
        if weight.dtype.is_floating_point:
            weight.data = weight.data.float()


def _stepping(network: Any, recipe: Recipe, ledger: Ledger) -> Callable[[], None]:
    """What makes a step; moments are there from the second on."""
    trained = [weight for weight in network.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-5, weight_decay=0.0, **recipe.optimizer)
    if recipe.checkpointing is not None:
        network.gradient_checkpointing_enable({"use_reentrant": recipe.checkpointing})

    def step() -> None:
        optimizer.zero_grad()
        ledger.begin(ACTIVATIONS)
        for _ in range(1 + recipe.accumulates):
            LOSSES[recipe.loss](network, recipe)
        ledger.name(GRADIENTS, [weight.grad for weight in trained])
        ledger.begin(OPTIMIZER)
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        if recipe.forgets:
            optimizer.zero_grad()
        ledger.close_pass("update", recipe.rows * recipe.length)

    return step


def _pass(network: Any, recipe: Recipe) -> None:
    with torch.no_grad():
        labels = None if recipe.caches else _labels(recipe)
        network(**_texts(recipe), labels=labels, use_cache=recipe.caches)


def _texts(recipe: Recipe) -> dict[str, torch.Tensor]:
    tokens = torch.zeros((recipe.rows, recipe.length), dtype=torch.long)
    if not recipe.padded:
        return {"input_ids": tokens}
    mask = torch.ones_like(tokens)
    mask[0, -1] = 0
    return {"input_ids": tokens, "attention_mask": mask}


def _labels(recipe: Recipe) -> torch.Tensor:
    return torch.zeros((recipe.rows, recipe.length), dtype=torch.long)


def _autocast(recipe: Recipe) -> contextlib.AbstractContextManager[object]:
    return torch.autocast("cpu", dtype=torch.bfloat16) if recipe.autocast else contextlib.nullcontext()


def _whole(network: Any, recipe: Recipe) -> None:
    """transformers from 4.46 on: all logits in fp32; labels are shifted. The output is there until the step ends."""
    with _autocast(recipe):
        out = network(**_texts(recipe), labels=_labels(recipe), use_cache=recipe.caches)
    out.loss.backward()


def _whole_dropped(network: Any, recipe: Recipe) -> None:
    """torchtune: all logits in fp32, and only the loss outlives them."""
    network(**_texts(recipe), labels=_labels(recipe), use_cache=False).loss.backward()


def _shifted_copy(network: Any, recipe: Recipe) -> None:
    """transformers up to 4.45: all logits in fp32, a copy without the last position; only the loss outlives it."""
    with _autocast(recipe):
        loss = _loss_of_copy(network if recipe.adapter is None else network.get_base_model(), recipe)
    loss.backward()


def _loss_of_copy(network: Any, recipe: Recipe) -> torch.Tensor:
    states = network.model(**_texts(recipe), use_cache=False)[0]
    logits = network.lm_head(states)
    if hasattr(network.config, "logits_scaling"):
        logits = logits / network.config.logits_scaling
    logits = logits.float()
    shifted = logits[..., :-1, :].contiguous()
    return functional.cross_entropy(shifted.view(-1, shifted.shape[-1]), _labels(recipe)[..., 1:].reshape(-1))


def _chunked_head(network: Any, recipe: Recipe) -> None:
    """LitGPT's LoRA: the output layer is applied to 128 positions at a time, and all chunks are kept."""
    inner = network.get_base_model() if recipe.adapter is not None else network
    states = inner.model(**_texts(recipe), use_cache=False)[0]
    chunks = [inner.lm_head(part) for part in states.split(_CHUNK, dim=1)]
    del states
    labels = _labels(recipe)
    chunks[-1] = chunks[-1][:, :-1]
    targets = labels[:, 1:].split(_CHUNK, dim=1)
    losses = [_cross_entropy(part, target) for part, target in zip(chunks, targets, strict=True)]
    torch.cat(losses).mean().backward()


def _chunked_loss(network: Any, recipe: Recipe) -> None:
    """LitGPT's full training: all logits in the type of the weights, the loss of 128 rows at a time."""
    logits = network(**_texts(recipe), use_cache=False).logits
    rows = logits[:, :-1].reshape(-1, logits.shape[-1])
    targets = _labels(recipe)[:, 1:].reshape(-1)
    losses = [
        functional.cross_entropy(part, target, reduction="none")
        for part, target in zip(rows.split(_CHUNK), targets.split(_CHUNK), strict=True)
    ]
    torch.cat(losses).mean().backward()


def _cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1), reduction="none")


LOSSES: Mapping[str, Callable[[Any, Recipe], None]] = {
    "whole": _whole,
    "whole, dropped": _whole_dropped,
    "shifted copy": _shifted_copy,
    "chunked head": _chunked_head,
    "chunked loss": _chunked_loss,
}


def _compute_norms_plainly(network: Any) -> None:
    """In the type of what they are given, as LitGPT had them in 2023."""
    for module in network.modules():
        if type(module).__name__.endswith("RMSNorm"):
            module.forward = _plain_norm(module)


def _join_projections(network: Any) -> None:
    """Query, key and value lie in one tensor, as where one projection makes them: while one is kept, all are."""
    for attention in network.modules():
        if hasattr(attention, "q_proj") and hasattr(attention, "v_proj"):
            made: list[torch.Tensor] = []
            for layer in (attention.q_proj, attention.k_proj):
                layer.register_forward_hook(lambda _, __, out, made=made: made.append(out.detach()))
            attention.v_proj.register_forward_hook(lambda _, __, out, made=made: _joined(made, out))


def _joined(made: list[torch.Tensor], value: torch.Tensor) -> torch.Tensor:
    whole = torch.cat([*made, value], dim=-1)
    made.clear()
    return whole[..., -value.shape[-1] :]


def _plain_norm(module: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    def forward(states: torch.Tensor) -> torch.Tensor:
        scale = torch.rsqrt(torch.mean(states * states, dim=-1, keepdim=True) + module.variance_epsilon)
        return module.weight * (states * scale)

    return forward
