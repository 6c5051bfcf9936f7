"""One process against two, by both strategies, alternating in one run; prints samples/s and peak memory a process.

    .venv/bin/python benchmarks/parallel.py [--rows 64] [--rounds 2] [--method lora] [--precision bf16]
        [--first-layers N]

Each trains one epoch on rows of the shipped task, from the same weights, with the same examples an update, and with
all cores shared among its processes: on a machine with as many cores as processes, two of them can win little.
Peaks are resident memory in the training phase, libraries included (about 0.4 GB a process).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import signal
import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch

from fairtune.data import encode_all, lengths_of, load_splits
from fairtune.data.starter import SMALL_MODEL
from fairtune.execute.phases import PhaseMeter
from fairtune.execute.progress import ProgressFile
from fairtune.execute.ranks import start_ranks
from fairtune.methods import METHODS, Course
from fairtune.models import fetch, identify
from fairtune.models.device import device_of_rank
from fairtune.models.opening import open_model, open_tokenizer
from fairtune.study import ModelRef, Parallel, Training, load_task
from fairtune.tasks import TASKS
from fairtune.train.loop import train
from fairtune.train.parallel import ALONE, join_ranks

KINDS = {
    "1 process": Parallel(),
    "2 processes, ddp": Parallel(processes=2),
    "2 processes, fsdp": Parallel(strategy="fsdp", processes=2),
}


def work(folder: str, kind: str, options: dict[str, Any]) -> None:
    """One process: loads, trains, and writes what it took."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    parallel, rank = KINDS[kind], int(os.environ["RANK"])
    device = device_of_rank(torch.device("cpu"), rank, parallel.processes)
    world = join_ranks(parallel, device) if parallel.processes > 1 else ALONE
    choice = identify(ModelRef(source=SMALL_MODEL, first_layers=options["first_layers"]), Path())
    weights = fetch(choice, print)
    task = TASKS["cldr-spanish"]
    splits = load_splits(load_task(task), task.parent)
    tokenizer = open_tokenizer(choice, weights, ())
    rows = encode_all(splits.train[: options["rows"]], tokenizer)
    model = open_model(choice, weights, tokenizer, options["precision"], device, max(lengths_of(rows)), 0)
    tuned = METHODS[options["method"]].attach(model, {}, Course(0))
    recipe = Training(epochs=1, batch_size=options["batch_size"], learning_rate=1e-5, keep="last")
    meter = PhaseMeter(ProgressFile(Path(folder) / f"progress{rank}.json"))
    with meter.phase("train"):
        scratch = Path(folder) / f"best{rank}"
        result = train(tuned, rows, rows[:1], recipe, 0, scratch, lambda update: None, world=world)
    found = {
        "samples": len(rows) / result.update_seconds,
        "peak": meter.costs["train"].peak_bytes,
        "loss": result.validation_losses[-1],
    }
    (Path(folder) / f"found{rank}.json").write_text(json.dumps(found))
    world.group.close()


def measured(kind: str, options: dict[str, Any]) -> list[dict[str, float]]:
    """What each process of one training found."""
    count = KINDS[kind].processes
    with tempfile.TemporaryDirectory() as folder:
        process = multiprocessing.get_context("spawn").Process(target=launch, args=(count, folder, kind, options))
        process.start()
        process.join()
        return [json.loads((Path(folder) / f"found{rank}.json").read_text()) for rank in range(count)]


def launch(count: int, folder: str, kind: str, options: dict[str, Any]) -> None:
    """The run's own process, fresh each time."""
    failed = start_ranks(count, work, folder, kind, options)
    if failed is not None:
        raise SystemExit(f"{kind}: {failed}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--method", default="lora")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--first-layers", type=int, default=None)
    options = vars(parser.parse_args())
    speeds: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for _ in range(options["rounds"]):
        for kind in KINDS:
            found = measured(kind, options)
            speeds[kind].append(found[0]["samples"])
            peaks = ", ".join(f"{one['peak'] / 2**20:,.0f} MiB" for one in found)
            print(f"{kind}: {found[0]['samples']:.2f} samples/s, peak {peaks}, loss {found[0]['loss']:.6f}", flush=True)
    medians = {kind: statistics.median(values) for kind, values in speeds.items()}
    for kind in list(KINDS)[1:]:
        print(f"{kind}: {medians[kind] / medians['1 process']:.2f} times the samples/s of one process")


if __name__ == "__main__":
    main()
