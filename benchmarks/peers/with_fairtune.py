"""One training by fairtune's own engine, as a run of a study does it."""

from __future__ import annotations

import tempfile
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from measure import Meter, asked, fingerprint, tell, write_weights

from fairtune.data import Encoded
from fairtune.methods import METHODS, Course, Tuned
from fairtune.models.load import load_model, load_tokenizer
from fairtune.models.rows import Batching
from fairtune.study import Training
from fairtune.train.loop import train


def encoded(rows: list[dict[str, Any]]) -> list[Encoded]:
    return [
        Encoded(str(at), tuple(row["tokens"]), tuple(map(bool, row["supervised"])), row["supervised"].index(1), "")
        for at, row in enumerate(rows)
    ]


def recipe(workload: dict[str, Any], changes: dict[str, Any]) -> Training:
    names = ("batch_size", "learning_rate", "schedule", "max_length")
    return Training(**{"epochs": 1, "warmup": 0.0, "keep": "last"} | {name: workload[name] for name in names} | changes)


def opened(workload: dict[str, Any], updates: int = 1) -> Tuned:
    """The base in bf16 with the workload's method at work on it."""
    folder = Path(workload["model"])
    model = load_model(folder, load_tokenizer(folder, False), "bf16", torch.device("cpu"), False, workload["longest"])
    return METHODS[workload["method"]].attach(model, workload["options"], Course(workload["seed"], updates))


def trained(tuned: Tuned) -> dict[str, torch.Tensor]:
    """What training moves, under PEFT's names where it is an adapter."""
    network = tuned.model.network
    if not hasattr(network, "peft_config"):
        return {name: weight for name, weight in network.named_parameters() if weight.requires_grad}
    from peft import get_peft_model_state_dict

    found: dict[str, torch.Tensor] = get_peft_model_state_dict(network, save_embedding_layers=False)
    return found


def main() -> None:
    request = asked()
    workload, layout = request.workload, {field.name for field in fields(Batching)}
    training = recipe(workload, {name: value for name, value in request.changes.items() if name not in layout})
    rows, few = encoded(workload["rows"]), encoded(workload["validation"][:2])
    tuned = opened(workload, training.total_updates(len(rows)))
    tuned.model.batching = replace(
        tuned.model.batching, **{name: value for name, value in request.changes.items() if name in layout}
    )
    start = fingerprint(trained(tuned))
    meter = Meter()
    with tempfile.TemporaryDirectory() as folder:
        meter.begin()
        # The last report comes before the epoch's validation, which is no part of training.
        result = train(tuned, rows, few, training, workload["seed"], Path(folder) / "best", meter.tick)
        measured = meter.end()
    write_weights(trained(tuned), request.weights)
    tell(
        measured
        | {"tokens": result.tokens, "supervised": result.supervised, "start": start}
        | {"note": f"{result.update_seconds:.1f} s in updates by its own count"}
    )


if __name__ == "__main__":
    main()
