"""Which linear layers of a network a method changes: by name, or ``attention``, ``mlp``, ``all-linear``."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field

from fairtune.errors import Problem, SpecError, suggest

if TYPE_CHECKING:
    from torch import nn

GROUPS = ("attention", "mlp", "all-linear")
_ATTENTION = ("attn", "attention")


def targets_field(default: str) -> Any:
    """The option that says which linear layers."""
    return Field(default=default, description=f"names of linear layers, or of groups of them: {', '.join(GROUPS)}")


def _as_names(value: Any) -> Any:
    return [value] if isinstance(value, str) and value not in GROUPS else value


Targets = Annotated[str | list[str], BeforeValidator(_as_names)]


def blocks(network: nn.Module) -> tuple[str, list[nn.Module]]:
    """Name of the list of transformer layers, and the layers.

    Raises:
        SpecError: the architecture has no such list.
    """
    from torch import nn

    count = network.config.get_text_config().num_hidden_layers  # type: ignore[union-attr,operator]
    for name, module in network.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return name, list(module)
    raise SpecError([Problem("methods", f"{type(network).__name__} has no list of {count} layers to choose from")])


def linear_layers(network: nn.Module) -> dict[str, nn.Module]:
    """Linear layers inside the transformer layers, by full name: the output layer is not among them."""
    prefix, _ = blocks(network)
    return {
        name: module for name, module in network.named_modules() if name.startswith(f"{prefix}.") and _is_linear(module)
    }


def has_transposed(network: nn.Module) -> bool:
    """Whether layers hold their weights as ``(d_in, d_out)``, as GPT-2's do."""
    from transformers.pytorch_utils import Conv1D

    return any(isinstance(module, Conv1D) for module in network.modules())


def _is_linear(module: nn.Module) -> bool:
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, (nn.Linear, Conv1D))  # bitsandbytes' quantised layers are nn.Linear too


def resolve(network: nn.Module, targets: str | list[str]) -> list[str]:
    """Names that PEFT takes as ``target_modules``: the shortest endings that mean exactly the layers chosen.

    Raises:
        SpecError: no layer is called so.
    """
    layers = list(linear_layers(network))
    found: list[str] = []
    for name in [targets] if isinstance(targets, str) else targets:
        if name in GROUPS:
            found += _endings([layer for layer in layers if name in ("all-linear", _group(layer))], layers)
        else:
            _require_layer(network, name, layers)
            found.append(name)
    return list(dict.fromkeys(found))


def _require_layer(network: nn.Module, name: str, layers: list[str]) -> None:
    """Only linear layers: what is added to embeddings would be added to the output layer too, where they are one."""
    known = {full for full, module in network.named_modules() if _is_linear(module)}
    if not any(full == name or full.endswith(f".{name}") for full in known):
        leaves = {_leaf(layer) for layer in layers}
        raise SpecError([Problem("methods.targets", f"no linear layer '{name}'; {suggest(name, {*leaves, *GROUPS})}")])


def _group(name: str) -> str:
    inside = name.rsplit(".", 1)[0].lower()
    return "attention" if any(word in inside for word in _ATTENTION) else "mlp"


def _endings(chosen: list[str], layers: list[str]) -> list[str]:
    """The layer's own name; with its parent's where that name stands for layers of two kinds (GPT-2's ``c_proj``)."""
    parents = {(name.rsplit(".", 2)[-2], name.rsplit(".", 1)[-1]) for name in layers}
    shared = Counter(leaf for _, leaf in parents)
    endings = [".".join(name.rsplit(".", 2)[-2:]) if shared[_leaf(name)] > 1 else _leaf(name) for name in chosen]
    return list(dict.fromkeys(endings))


def _leaf(name: str) -> str:
    return name.rpartition(".")[2]


def sublayer(layer: nn.Module, kind: str) -> Any:
    """The attention, or the MLP, of a transformer layer.

    Raises:
        SpecError: the layer has none, or several.
    """
    found = [child for name, child in layer.named_children() if _holds_linear(child) and _group(f"{name}.x") == kind]
    if len(found) != 1:
        names = ", ".join(name for name, _ in layer.named_children())
        raise SpecError([Problem("methods", f"{len(found)} of the parts of a layer ({names}) look like its {kind}")])
    return found[0]


def _holds_linear(module: nn.Module) -> bool:
    return any(_is_linear(inner) for inner in module.modules())
