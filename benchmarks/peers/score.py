"""The validation loss of what a side trained, by fairtune's code whatever the side: ``score.py WORKLOAD [WEIGHTS]``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from measure import tell
from safetensors.torch import load_file
from with_fairtune import encoded, opened

from fairtune.train.loop import mean_loss


def main() -> None:
    workload = json.loads(Path(sys.argv[1]).read_text())
    tuned = opened(workload)
    network = tuned.model.network
    if len(sys.argv) > 2:
        weights = load_file(sys.argv[2])
        if workload["method"] == "lora":
            from peft import set_peft_model_state_dict

            left = set_peft_model_state_dict(network, weights).unexpected_keys
            moved = [name for name, _ in network.named_parameters() if ".lora_" in name]
        else:
            left = network.load_state_dict(weights, strict=False).unexpected_keys
            moved = [name for name, _ in network.named_parameters()]
        if left or len(weights) != len(moved):
            raise SystemExit(f"{len(weights)} weights for {len(moved)} parameters; unknown: {left[:3]}")
    parameters = sum(weight.numel() for name, weight in network.named_parameters() if ".lora_" not in name)
    tell({"parameters": parameters, "loss": mean_loss(tuned.model, encoded(workload["validation"]))})


if __name__ == "__main__":
    main()
