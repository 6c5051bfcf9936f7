"""One training by LitGPT's ``fit`` of its LoRA script, on the same tokens, labels and order as fairtune's.

LitGPT sorts nothing, clips no gradients, and keeps adapters in the number format of the weights.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning
import torch
from litgpt.args import EvalArgs, TrainArgs
from litgpt.finetune.lora import fit
from litgpt.lora import GPT, Config, mark_only_lora_as_trainable
from litgpt.scripts.convert_hf_checkpoint import copy_weights_hf_llama
from measure import Meter, Request, asked, tell, write_weights
from safetensors.torch import load_file

SETTINGS: dict[str, Any] = {"precision": "bf16-true", "micro_batch_size": 8}


class Batches:
    """What ``fit`` takes for a data loader. Counts what it gives."""

    def __init__(self, rows: list[dict[str, Any]], size: int, begin: Any = None) -> None:
        self.dataset = [{"input_ids": torch.tensor(row["tokens"])} for row in rows]
        self._batches = [rows[at : at + size] for at in range(0, len(rows), size)]
        self._begin = begin
        self.tokens = self.supervised = 0

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        if self._begin:
            self._begin()
        for rows in self._batches:
            batch = padded(rows)
            self.tokens += int(batch["token_counts"]["raw"].sum())
            self.supervised += int((batch["labels"][:, 1:] != -100).sum())
            yield batch


def padded(rows: list[dict[str, Any]]) -> dict[str, Any]:
    longest = max(len(row["tokens"]) for row in rows)
    tokens = torch.zeros((len(rows), longest), dtype=torch.long)
    labels = torch.full((len(rows), longest), -100)
    for at, row in enumerate(rows):
        ids, learned = torch.tensor(row["tokens"]), torch.tensor(row["supervised"], dtype=torch.bool)
        tokens[at, : len(ids)] = ids
        labels[at, : len(ids)] = ids.masked_fill(~learned, -100)
    count = torch.tensor([len(row["tokens"]) for row in rows])
    return {"input_ids": tokens, "labels": labels, "token_counts": {"raw": count, "raw_plus_prompt_template": count}}


def shape(folder: Path, options: dict[str, Any]) -> Config:
    """LitGPT's own configuration of the model, with the workload's LoRA."""
    hf = json.loads((folder / "config.json").read_text())
    found = Config.from_name(
        "SmolLM2-135M-Instruct",
        lora_r=options["rank"],
        lora_alpha=options["alpha"],
        lora_dropout=0.0,
        lora_query=True,
        lora_value=True,
    )
    assert (found.n_layer, found.n_embd, found.n_head) == tuple(
        hf[key] for key in ("num_hidden_layers", "hidden_size", "num_attention_heads")
    )
    return found


def opened(fabric: Any, folder: Path, config: Config) -> Any:
    state: dict[str, torch.Tensor] = {}
    copy_weights_hf_llama(config, {}, state, load_file(folder / "model.safetensors"))
    with fabric.init_module(empty_init=False):
        model = GPT(config)
    mark_only_lora_as_trainable(model)
    missing, unknown = model.load_state_dict(state, strict=False)
    if unknown or any("lora_" not in name for name in missing):
        raise SystemExit(f"missing {missing[:3]}, unknown {unknown[:3]}")
    return fabric.setup_module(model)


def trained(model: Any, rank: int) -> dict[str, torch.Tensor]:
    """Under PEFT's names: LitGPT has query and value in one pair of matrices."""
    found = {}
    for at, block in enumerate(model.transformer.h):
        both = block.attn.qkv
        for kind, a, b in zip("qv", both.lora_A.split(rank), both.lora_B.split(both.qkv_shapes), strict=True):
            name = f"base_model.model.model.layers.{at}.self_attn.{kind}_proj.lora"
            found |= {f"{name}_A.weight": a.float(), f"{name}_B.weight": b.float()}
    return found


def run(request: Request, meter: Meter, folder: str) -> tuple[Any, Batches]:
    workload, settings = request.workload, SETTINGS | request.changes
    fabric = lightning.Fabric(accelerator="cpu", devices=1, precision=settings["precision"])
    fabric.launch()
    fabric.seed_everything(workload["seed"])
    source = Path(workload["model"])
    model = opened(fabric, source, shape(source, workload["options"]))
    rows, micro = request.ordered(), settings["micro_batch_size"]
    steps = math.ceil(len(rows) / workload["batch_size"])
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad], lr=workload["learning_rate"], weight_decay=0.0
    )
    optimizer = fabric.setup_optimizers(optimizer)
    optimizer.register_step_post_hook(meter.tick)
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer.optimizer, lambda at: 0.5 * (1 + math.cos(math.pi * at / steps))
    )
    batches = Batches(rows, micro, meter.begin)
    fit(
        fabric=fabric,
        model=model,
        optimizer=optimizer,
        scheduler=scheduler,
        train_dataloader=batches,
        val_dataloader=Batches(rows[:2], 2),
        devices=1,
        checkpoint_dir=source,
        out_dir=Path(folder),
        train=TrainArgs(
            global_batch_size=workload["batch_size"],
            micro_batch_size=micro,
            epochs=2,  # it looks for the epoch's end before the update; max_steps ends it
            max_steps=steps,
            max_seq_length=workload["max_length"],
            save_interval=None,
            lr_warmup_steps=0,
        ),
        eval=EvalArgs(interval=steps + 1, initial_validation=False),
        data=None,
    )
    return model, batches


def main() -> None:
    request, meter = asked(), Meter()
    if request.workload["method"] != "lora":
        raise SystemExit("this side trains LoRA only")
    with tempfile.TemporaryDirectory() as folder:
        model, seen = run(request, meter, folder)
        measured = meter.end()
    write_weights(trained(model, request.workload["options"]["rank"]), request.weights)
    told = {"tokens": seen.tokens, "supervised": seen.supervised, "start": "own"}
    tell(measured | told | {"note": "no clipping, adapters in bf16"})


if __name__ == "__main__":
    main()
