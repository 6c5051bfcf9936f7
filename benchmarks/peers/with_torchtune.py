"""One training by torchtune's recipe ``lora_finetune_single_device``: fairtune's tokens, labels and order.

torchtune keeps adapters in the number format of the weights, and has an output layer of its own where the model shares
it with the embedding (the same numbers, frozen).
"""

from __future__ import annotations

import importlib.util
import json
import tempfile
from pathlib import Path
from typing import Any

import torch
import torchtune
from measure import Meter, Request, asked, tell, write_weights
from omegaconf import OmegaConf
from safetensors.torch import load_file
from torchtune.data import padded_collate_sft
from torchtune.models.convert_weights import hf_to_tune, tune_to_peft_adapter_weights

SETTINGS: dict[str, Any] = {"batch_size": 8, "gradient_accumulation_steps": 1}


def recipe_class() -> Any:
    """The recipe is a script that lies beside the package."""
    file = Path(torchtune.__file__).parents[1] / "recipes" / "lora_finetune_single_device.py"
    spec = importlib.util.spec_from_file_location("recipe", file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.LoRAFinetuneRecipeSingleDevice


class InOrder(torch.utils.data.SequentialSampler):
    """A sampler that the recipe can tell the epoch."""

    def set_epoch(self, epoch: int) -> None:
        """Every epoch has the same order."""


class Collate:
    """The recipe's own collating; counts what it gives."""

    def __init__(self) -> None:
        self.tokens = self.supervised = 0

    def __call__(self, batch: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        made: dict[str, torch.Tensor] = padded_collate_sft(batch, 0, -100)
        self.tokens += sum(len(row["tokens"]) for row in batch)
        self.supervised += int((made["labels"][:, 1:] != -100).sum())
        return made


def loader(rows: list[dict[str, Any]], size: int) -> Any:
    items = [
        {
            "tokens": row["tokens"],
            "labels": [
                token if learned else -100 for token, learned in zip(row["tokens"], row["supervised"], strict=True)
            ],
        }
        for row in rows
    ]
    return torch.utils.data.DataLoader(items, batch_size=size, sampler=InOrder(items), collate_fn=Collate())


def config(workload: dict[str, Any], hf: dict[str, Any], settings: dict[str, Any], folder: str) -> Any:
    options = workload["options"]
    chosen = {
        "output_dir": folder,
        "device": "cpu",
        "dtype": "bf16",
        "seed": workload["seed"],
        "epochs": 1,
        "max_steps_per_epoch": None,
        "resume_from_checkpoint": False,
        "compile": False,
        "shuffle": False,
        "clip_grad_norm": 1.0,
        "log_every_n_steps": 10,
        "checkpointer": {"model_type": "LLAMA3"},
        "tokenizer": {"_component_": "builtins.object"},
        "dataset": {},
        "model": {
            "_component_": "torchtune.models.llama3._component_builders.lora_llama3",
            "lora_attn_modules": options["targets"],
            "apply_lora_to_mlp": False,
            "vocab_size": hf["vocab_size"],
            "num_layers": hf["num_hidden_layers"],
            "num_heads": hf["num_attention_heads"],
            "num_kv_heads": hf["num_key_value_heads"],
            "embed_dim": hf["hidden_size"],
            "intermediate_dim": hf["intermediate_size"],
            "max_seq_len": workload["max_length"],
            "norm_eps": hf["rms_norm_eps"],
            "rope_base": int((hf.get("rope_parameters") or hf)["rope_theta"]),
            "lora_rank": options["rank"],
            "lora_alpha": options["alpha"],
            "lora_dropout": 0.0,
        },
        "optimizer": {
            "_component_": "torch.optim.AdamW",
            "lr": workload["learning_rate"],
            "weight_decay": 0.0,
            "fused": True,
        },
        "lr_scheduler": {
            "_component_": "torchtune.training.lr_schedulers.get_cosine_schedule_with_warmup",
            "num_warmup_steps": 0,
        },
        "loss": {"_component_": "torchtune.modules.loss.CEWithChunkedOutputLoss"},
        "metric_logger": {"_component_": "torchtune.training.metric_logging.DiskLogger", "log_dir": folder},
    }
    return OmegaConf.create(chosen | settings)


def trained(recipe: Any, hf: dict[str, Any]) -> dict[str, torch.Tensor]:
    heads = {"num_heads": hf["num_attention_heads"], "num_kv_heads": hf["num_key_value_heads"]}
    found = {name: weight.float() for name, weight in recipe._model.named_parameters() if weight.requires_grad}
    peft: dict[str, torch.Tensor] = tune_to_peft_adapter_weights(found, dim=hf["hidden_size"], **heads)
    return peft


def run(request: Request, meter: Meter, hf: dict[str, Any], folder: str) -> Any:
    workload, settings = request.workload, SETTINGS | request.changes

    class Recipe(recipe_class()):  # type: ignore[misc]
        """The recipe with the workload's weights and rows, and no checkpoint at the end."""

        def load_checkpoint(self, cfg_checkpointer: Any) -> dict[str, Any]:
            found = load_file(Path(workload["model"]) / "model.safetensors")
            heads = {"num_heads": hf["num_attention_heads"], "num_kv_heads": hf["num_key_value_heads"]}
            state = hf_to_tune(found, dim=hf["hidden_size"], **heads)
            state.setdefault("output.weight", state["tok_embeddings.weight"])
            return {"model": state}

        def _setup_data(self, batch_size: int, **_: Any) -> Any:
            return loader(request.ordered(), batch_size)

        def save_checkpoint(self, epoch: int) -> None:
            """Not wanted."""

    recipe = Recipe(config(workload, hf, settings, folder))
    recipe.setup(config(workload, hf, settings, folder))
    recipe._optimizer.register_step_post_hook(meter.tick)
    meter.begin()
    recipe.train()
    return recipe


def main() -> None:
    request, meter = asked(), Meter()
    if request.workload["method"] != "lora":
        raise SystemExit("this side trains LoRA only")
    hf = json.loads((Path(request.workload["model"]) / "config.json").read_text())
    with tempfile.TemporaryDirectory() as folder:
        recipe = run(request, meter, hf, folder)
        measured = meter.end()
        recipe.cleanup()
    write_weights(trained(recipe, hf), request.weights)
    seen = recipe._dataloader.collate_fn
    told = {"tokens": seen.tokens, "supervised": seen.supervised, "start": "own"}
    tell(measured | told | {"note": "adapters in bf16"})


if __name__ == "__main__":
    main()
