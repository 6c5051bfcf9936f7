"""Bottleneck adapters: a narrow network after each attention and each MLP.

Houlsby et al. 2019, "Parameter-Efficient Transfer Learning for NLP", section 2.1: ``h + W_up f(W_down h + b_down) +
b_up`` on the output of both sub-layers, before it joins the residual stream. ``W_up`` and ``b_up`` are zero at the
start, so that the first outputs are the base model's. The paper also trains the layer norms; here they stay. PEFT has
no such method, so the files are of our own layout: adapter_config.json and adapter_model.safetensors.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from fairtune.errors import ModelError, Problem, SpecError
from fairtune.methods.protocol import Course, Method, Tuned
from fairtune.methods.targets import blocks, sublayer
from fairtune.study import Strict

if TYPE_CHECKING:
    from torch import Tensor, nn

    from fairtune.models.load import LanguageModel

_WEIGHTS = "adapter_model.safetensors"
_CONFIG = "adapter_config.json"
_LAYOUT = "fairtune-bottleneck"


class AdapterOptions(Strict):
    """Size and place."""

    bottleneck: Annotated[int, Field(ge=1)] = Field(default=64, description="width of the narrow layer")
    activation: Literal["relu", "gelu", "silu"] = "gelu"
    after: Literal["attention", "mlp", "both"] = "both"


class AdapterTuned(Tuned):
    """A network with bottlenecks in its sub-layers."""

    def __init__(self, model: LanguageModel, options: AdapterOptions) -> None:
        super().__init__(model)
        self._options = options

    def save(self, folder: Path) -> None:
        """Weights by the names they have in the network, and the options."""
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        weights = {name: weight.detach().contiguous() for name, weight in _bottlenecks(self.model.network)}
        save_file(weights, folder / _WEIGHTS)
        config = {"layout": _LAYOUT, **self._options.model_dump()}
        (folder / _CONFIG).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


def _attach(model: LanguageModel, options: Mapping[str, Any], course: Course) -> Tuned:
    import torch

    chosen = AdapterOptions.model_validate(options)
    model.network.requires_grad_(False)
    torch.manual_seed(course.seed)
    _insert(model.network, chosen)
    return AdapterTuned(model, chosen)


def _insert(network: nn.Module, options: AdapterOptions) -> None:
    """A bottleneck inside each sub-layer, on whose output it works through a forward hook.

    The sub-layer keeps its name and class, so that nothing that looks for either is surprised.
    """
    device = next(network.parameters()).device
    kinds = ("attention", "mlp") if options.after == "both" else (options.after,)
    _, layers = blocks(network)
    for layer in layers:
        for kind in kinds:
            inner = sublayer(layer, kind)
            width = network.config.get_text_config().hidden_size  # type: ignore[union-attr,operator]
            inner.bottleneck = _bottleneck(width, options).to(device)
            inner.register_forward_hook(_add)


def _bottleneck(width: int, options: AdapterOptions) -> nn.Module:
    """``W_up f(W_down h)``, ``W_down`` of small random numbers, in fp32."""
    from torch import nn
    from transformers.activations import ACT2FN

    down, up = nn.Linear(width, options.bottleneck), nn.Linear(options.bottleneck, width)
    nn.init.normal_(down.weight, std=1e-2)  # the paper's near-identity start, section 3.6
    for zero in (down.bias, up.weight, up.bias):
        nn.init.zeros_(zero)
    return nn.Sequential(down, ACT2FN[options.activation], up)


def _add(inner: nn.Module, arguments: Any, output: Any) -> Any:
    hidden: Tensor = output[0] if isinstance(output, tuple) else output
    changed = hidden + inner.bottleneck(hidden.float()).to(hidden.dtype)  # type: ignore[operator]
    return (changed, *output[1:]) if isinstance(output, tuple) else changed


def _bottlenecks(network: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    return ((name, weight) for name, weight in network.named_parameters() if ".bottleneck." in name)


def _restore(model: LanguageModel, options: Mapping[str, Any], folder: Path) -> Tuned:
    import torch
    from safetensors.torch import load_file

    config = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
    if config.pop("layout", None) != _LAYOUT:
        raise ModelError(f"{folder}: not a bottleneck adapter of this project")
    # An export also writes for which base it is.
    chosen = AdapterOptions.model_validate({key: config[key] for key in AdapterOptions.model_fields})
    _insert(model.network, chosen)
    kept = load_file(folder / _WEIGHTS)
    there = dict(_bottlenecks(model.network))
    if there.keys() != kept.keys():
        raise SpecError([Problem(str(folder), "the adapter was made for another network")])
    with torch.no_grad():
        for name, weight in there.items():
            weight.copy_(kept[name])
    return AdapterTuned(model, chosen)


ADAPTER = Method(
    name="adapter",
    summary="narrow networks after each attention and each MLP",
    paper="Houlsby et al. 2019, arXiv:1902.00751",
    formula="layers * (2 if after == 'both' else 1) * (2 * hidden * bottleneck + bottleneck + hidden)",
    options=AdapterOptions,
    attach=_attach,
    restore=_restore,
    learning_rate=1e-3,
    learning_rate_reason="within the paper's 3e-5 to 3e-3; fresh weights behind a start at zero",
)
