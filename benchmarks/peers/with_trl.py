"""One training by TRL's SFTTrainer, on the same tokens and labels as fairtune's.

Settings: ``trl``, the quickest that was found on a CPU with nothing left out of the work: micro-batches of about two
rows of similar length out of each update's eight. ``trl-grouped``, all eight at once, grouped by length over the epoch.
``trl-same-order``, like the first, with fairtune's order of examples in place of TRL's own. ``trl-defaults``,
SFTConfig's defaults, but for what the workload itself says.
"""

from __future__ import annotations

import tempfile
from typing import Any

import torch
from datasets import Dataset, disable_progress_bars
from measure import Meter, Request, asked, fingerprint, tell, write_weights
from peft import LoraConfig, get_peft_model_state_dict
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import SFTConfig, SFTTrainer

# Keys of ours among SFTConfig's: number format of the weights, and how attention is computed.
BEST: dict[str, Any] = {
    "dtype": "bfloat16",
    "attn_implementation": "sdpa",
    "bf16": False,
    "gradient_checkpointing": False,
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 4,
    "train_sampling_strategy": "batch_rebalance",
}
WHOLE = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 1}
# SFTTrainer opens a model that it is given by name in fp32, and computes in bf16 by autocast.
DEFAULTS: dict[str, Any] = {"dtype": "float32"}
SETTINGS = {
    "trl": BEST,
    "trl-grouped": BEST | WHOLE | {"train_sampling_strategy": "group_by_length"},
    "trl-same-order": BEST | {"train_sampling_strategy": "sequential"},
    "trl-defaults": DEFAULTS,
}


class Clock(TrainerCallback):  # type: ignore[misc]
    """From the first update to the last: the trainer's own preparations do not count."""

    def __init__(self) -> None:
        self.meter = Meter()

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.meter.begin()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.meter.tick()


def dataset(request: Request) -> Dataset:
    """Tokens with labels, which SFTTrainer takes as they are."""
    rows = request.ordered()
    labels = [
        [token if learned else -100 for token, learned in zip(row["tokens"], row["supervised"], strict=True)]
        for row in rows
    ]
    return Dataset.from_dict({"input_ids": [row["tokens"] for row in rows], "labels": labels})


def config(workload: dict[str, Any], settings: dict[str, Any], folder: str) -> SFTConfig:
    fixed = {
        "learning_rate": workload["learning_rate"],
        "lr_scheduler_type": workload["schedule"],
        "max_length": workload["max_length"],
        "per_device_train_batch_size": workload["batch_size"],
        "num_train_epochs": 1,
        "seed": workload["seed"],
        "use_cpu": True,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }
    return SFTConfig(output_dir=folder, **fixed | settings)


def trainer(request: Request, settings: dict[str, Any], folder: str, clock: Clock) -> SFTTrainer:
    workload = request.workload
    opening = {key: settings.pop(key) for key in ("dtype", "attn_implementation") if key in settings}
    network = AutoModelForCausalLM.from_pretrained(workload["model"], **opening)
    options = workload["options"]
    adapter = None
    if workload["method"] == "lora":
        adapter = LoraConfig(
            r=options["rank"],
            lora_alpha=options["alpha"],
            lora_dropout=0.0,
            target_modules=options["targets"],
            task_type="CAUSAL_LM",
        )
    return SFTTrainer(
        model=network,
        args=config(workload, settings, folder),
        train_dataset=dataset(request),
        processing_class=AutoTokenizer.from_pretrained(workload["model"]),
        peft_config=adapter,
        callbacks=[clock],
    )


def trained(network: Any) -> dict[str, torch.Tensor]:
    if hasattr(network, "peft_config"):
        found: dict[str, torch.Tensor] = get_peft_model_state_dict(network, save_embedding_layers=False)
        return found
    return dict(network.named_parameters())


def seen(sft: SFTTrainer) -> dict[str, int]:
    """Tokens as TRL counted them in its batches; labels as it prepared them."""
    prepared = sft.train_dataset
    return {
        "tokens": int(sft._total_train_tokens),
        "supervised": sum(sum(label != -100 for label in labels[1:]) for labels in prepared["labels"]),
    }


def main() -> None:
    request = asked()
    disable_progress_bars()
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        sft = trainer(request, SETTINGS[request.setting] | request.changes, folder, clock)
        start = fingerprint(trained(sft.model))
        sft.train()
        measured = clock.meter.end()
    write_weights(trained(sft.model), request.weights)
    tell(measured | seen(sft) | {"start": start, "note": f"{sft.state.global_step} updates"})


if __name__ == "__main__":
    main()
