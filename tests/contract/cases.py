"""Every method × tiny Llama, GPT-2 and Gemma 3: what is tried, and what the contract says of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers.pytorch_utils import Conv1D

from fairtune.methods import METHODS
from fairtune.models.load import LanguageModel
from fairtune.study import Training
from fairtune.train.loop import train
from tests import tiny

KINDS = ("llama", "gpt2", "gemma3")
RECIPE = Training(epochs=1, batch_size=4, learning_rate=5e-3, warmup=0, schedule="constant")


@dataclass(frozen=True)
class Case:
    """A method with options, on a kind of model."""

    method: str
    kind: str
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return "-".join([self.kind, self.method, *(f"{key}={value}" for key, value in self.options.items())])


SMALL: dict[str, list[dict[str, Any]]] = {
    "lora": [
        {"rank": 4},
        {"rank": 4, "targets": "attention", "bias": "lora_only", "rslora": True, "learning_rate_ratio": 16},
        {"rank": 4, "targets": "mlp", "init": "pissa"},
        {"rank": 4, "init": "olora"},
    ],
    "dora": [{"rank": 4}],
    "qlora": [{"rank": 4}, {"rank": 4, "code": "fp4", "double_quantization": False}, {"rank": 4, "code": "int8"}],
    "qdora": [{"rank": 4}],
    "adalora": [{"rank": 2, "initial_rank": 4}],
    "vera": [{"rank": 8}],
    "freeze": [{"last_layers": 1}, {"modules": ["mlp"]}],
    "adapter": [{"bottleneck": 4}],
    "prefix": [{"num_virtual_tokens": 3}],
    "prompt": [{"num_virtual_tokens": 3}],
    "ptuning": [{"num_virtual_tokens": 3, "encoder_hidden": 8}],
    "peft": [{"type": "ln_tuning"}, {"type": "lokr", "r": 4, "target_modules": "all-linear"}],
}
# Every method on every architecture; further options on one.
# Distillation has no weights of its own: its student is one of these (tests/unit/test_distill.py).
OWN = [name for name, method in METHODS.items() if method.inner is None]
CASES = [
    Case(name, kind, options)
    for kind in KINDS
    for name in OWN
    for options in SMALL.get(name, [{}])[: None if kind == "llama" else 1]
] + [Case("lora", "gpt2", {"rank": 4, "targets": "attention", "bias": "lora_only", "init": "pissa"})]
TRAINED = [case for case in CASES if METHODS[case.method].trains]


def each(cases: list[Case]) -> Any:
    """Parametrises a test over cases."""
    return pytest.mark.parametrize("case", cases, ids=lambda case: case.id)


def tuned(case: Case, folders: dict[str, Path], seed: int = 0, precision: str = "fp32") -> Any:
    return tiny.tuned(folders[case.kind], case.method, case.options, seed, precision)


def trained(
    case: Case, folders: dict[str, Path], scratch: Path, recipe: Training = RECIPE, batching: Any = None, **how: Any
) -> Any:
    """After a few updates; with the curve."""
    made = tuned(case, folders, **how)
    made.model.batching = batching or made.model.batching
    curve: list[Any] = []
    train(made, tiny.encoded(12), tiny.encoded(3, seed=9), recipe, 0, scratch / "best", curve.append)
    return made, [update.loss for update in curve]


@torch.no_grad()
def logits(model: LanguageModel) -> torch.Tensor:
    """Of the last ten positions of one text: virtual tokens before it do not count."""
    model.network.eval()
    tokens = torch.tensor([tiny.encoded(1)[0].tokens])
    return model.network(input_ids=tokens).logits[:, -10:].float()


def namespace(case: Case, folders: dict[str, Path]) -> dict[str, Any]:
    """The words of a formula, read off the network that the method starts from and nothing else."""
    network = tiny.language_model(folders[case.kind]).network
    config = network.config.get_text_config()
    options = METHODS[case.method].options.model_validate(case.options).model_dump()
    layers = {name: _shape(module) for name, module in network.named_modules() if _is_inner_linear(name, module)}
    chosen = _targets(options.get("targets") or "all-linear", layers)
    inner = [f".{config.num_hidden_layers - 1}."] if options.get("modules") is None else options["modules"]
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    feedforward = ["c_proj"] if case.kind == "gpt2" else ["down_proj"]
    if case.method == "ia3":
        scaled = ["c_attn"] if case.kind == "gpt2" else ["k_proj", "v_proj"]
        chosen = [shape for name, shape in layers.items() if name.rpartition(".")[2] in scaled]
    return {
        **options,
        "weights": sum(p.numel() for p in network.parameters()),
        "biases": _biases(network, layers, case.kind),
        "chosen": sum(p.numel() for n, p in network.named_parameters() if any(part in n for part in inner)),
        "targets": chosen,
        "feedforward": [shape for name, shape in layers.items() if "mlp" in name and name.endswith(tuple(feedforward))],
        "target_biases": _target_biases(options, network, layers, case.kind),
        "layers": config.num_hidden_layers,
        "hidden": config.hidden_size,
        "kv_width": heads * width,
    }


def _is_inner_linear(name: str, module: torch.nn.Module) -> bool:
    return isinstance(module, torch.nn.Linear | Conv1D) and name != "lm_head"


def _shape(module: Any) -> tuple[int, int]:
    rows, columns = module.weight.shape
    return (rows, columns) if isinstance(module, Conv1D) else (columns, rows)


def _targets(wanted: Any, layers: dict[str, tuple[int, int]]) -> list[tuple[int, int]]:
    part = {"attention": "attn", "mlp": "mlp", "all-linear": ""}[wanted]
    return [shape for name, shape in layers.items() if part in name]


def _biases(network: Any, layers: dict[str, tuple[int, int]], kind: str) -> int:
    there = sum(p.numel() for name, p in network.named_parameters() if name.endswith("bias"))
    parts = {"gpt2": (), "llama": ("attn", "mlp"), "gemma3": ("attn",)}[kind]  # what their switches add
    return there + sum(out for name, (_, out) in layers.items() if any(part in name for part in parts))


def _target_biases(options: dict[str, Any], network: Any, layers: dict[str, tuple[int, int]], kind: str) -> int:
    if options.get("bias") != "lora_only" or kind != "gpt2":
        return 0
    return sum(out for name, (_, out) in layers.items() if "attn" in name)
