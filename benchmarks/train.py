"""fairtune's training beside TRL's SFTTrainer, LitGPT and torchtune: speed, memory, loss; alternating in one run.

    .venv/bin/python -m pip install -c constraints.txt -e '.[benchmarks]'
    .venv/bin/python benchmarks/train.py [--workload alpaca|semeval|full] [--rows N] [--rounds 3] [--data DIR]
        [--sides fairtune,trl,trl-grouped,trl-same-order,trl-defaults] [--litgpt-python PATH] [--torchtune-python PATH]
        [--try SIDE:KEY=VALUE,KEY=VALUE]

Each training is a process of its own; sides take turns within a round, in an order that changes from round to round,
and so does a measurement of what bf16 matrix products alone allow. All sides train the same tokens with the same
labels, 8 examples an update, for one epoch, from the same weights; none drops, repeats or packs an example. Seconds run
from the first update to the end of the last, whatever a side compiles or warms up included; opening the model,
tokenising and validation are not in them. (fairtune's begin a little earlier, with its optimizer not yet made.) Peak
memory is that of the process while it trains, with what lay there before told beside it. The validation loss of every
side's result is computed by one code, fairtune's, on the base with the trained weights put into it.

Workloads: alpaca and semeval are LoRA (rank 16 on q_proj and v_proj) on SmolLM2-135M-Instruct in bf16, semeval with an
instruction of about 500 tokens before every row; full trains all weights. Printed are medians over the rounds with
(least–most), and medians of each round's ratios. `--try trl:per_device_train_batch_size=4` adds a side with other
settings; `--try fairtune:packed=false,fused=false,budget=512` one that lays texts out otherwise (models/rows.py).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PEERS = Path(__file__).parent / "peers"
sys.path.append(str(PEERS))

from measure import heard  # noqa: E402
from workload import WORKLOADS, prepare  # noqa: E402

DATA = Path(__file__).parents[2] / "shared" / "data"
OURS, SAME_ORDER, PRODUCTS = "fairtune", "trl-same-order", "matrix products"
MIB = 1 << 20


@dataclass
class Side:
    """One way to train the workload, and what was measured of it, round by round."""

    name: str
    python: str
    script: str
    changes: list[str] = field(default_factory=list)
    seen: list[dict[str, Any]] = field(default_factory=list)

    @property
    def setting(self) -> str:
        return self.name.partition(":")[0]

    def column(self, key: str) -> list[Any]:
        return [measured[key] for measured in self.seen]

    def speeds(self) -> list[float]:
        return [measured["tokens"] / measured["seconds"] for measured in self.seen]


@dataclass(frozen=True)
class Run:
    """Where everything of one run lies."""

    folder: Path
    workload: dict[str, Any]
    threads: int

    @property
    def file(self) -> Path:
        return self.folder / "workload.json"

    def process(self, python: str, script: str, *arguments: str) -> dict[str, Any]:
        """What a script of the peers' folder measured.

        Raises:
            SystemExit: it failed; the end of what it printed is told.
        """
        environment = os.environ | {"OMP_NUM_THREADS": str(self.threads), "TOKENIZERS_PARALLELISM": "false"}
        done = subprocess.run(
            [python, str(PEERS / script), *arguments], env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"{script} {arguments[0]} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
        return heard(done.stdout)

    def train(self, side: Side) -> dict[str, Any]:
        """One training, and the validation loss of what came out."""
        weights = self.folder / "weights.safetensors"
        measured = self.process(side.python, side.script, side.setting, str(self.file), str(weights), *side.changes)
        measured |= self.score(weights)
        weights.unlink()
        for key in ("tokens", "supervised"):
            if measured[key] != total(self.workload, key):
                raise SystemExit(f"{side.name} trained {measured[key]} {key}; there are {total(self.workload, key)}")
        return measured

    def score(self, *weights: Path) -> dict[str, Any]:
        return self.process(sys.executable, "score.py", str(self.file), *map(str, weights))

    def products(self) -> dict[str, Any]:
        return self.process(sys.executable, "products.py", str(self.file))


def total(workload: dict[str, Any], key: str) -> int:
    """Tokens of all rows, or those that carry loss: a first token has nothing to be predicted from."""
    if key == "tokens":
        return sum(len(row["tokens"]) for row in workload["rows"])
    return sum(sum(row["supervised"][1:]) for row in workload["rows"])


def sides_of(options: argparse.Namespace) -> list[Side]:
    here = sys.executable
    scripts = {OURS: (here, "with_fairtune.py")}
    scripts |= dict.fromkeys(("trl", "trl-grouped", SAME_ORDER, "trl-defaults"), (here, "with_trl.py"))
    scripts |= {"litgpt": (options.litgpt_python, "with_litgpt.py")}
    scripts |= {"torchtune": (options.torchtune_python, "with_torchtune.py")}
    names = options.sides.split(",")
    names += [name for name in ("litgpt", "torchtune") if scripts[name][0] and name not in names]
    chosen = [(name, []) for name in names] + [
        (asked, [change for change in asked.partition(":")[2].split(",") if change]) for asked in options.tries
    ]
    for name, _ in chosen:
        if name.partition(":")[0] not in scripts:
            raise SystemExit(f"no side is called {name}; there are {', '.join(scripts)}")
    return [Side(name, *scripts[name.partition(":")[0]], changes) for name, changes in chosen]


def measure(run: Run, sides: list[Side], rounds: int) -> list[float]:
    """Fills the sides; returns FLOP/s of matrix products, a round each."""
    rates = []
    for number in range(rounds):
        found = run.products()
        rates.append(found["rate"])
        told = ", ".join(f"{rows} rows {rate / 1e9:.0f}" for rows, rate in found["rates"].items())
        print(f"round {number + 1}  {PRODUCTS}: GFLOP/s at {told}", flush=True)
        at = number % len(sides)
        for side in sides[at:] + sides[:at]:
            measured = run.train(side)
            side.seen.append(measured)
            print(f"round {number + 1}  {line(side.name, measured)}", flush=True)
    return rates


def line(name: str, measured: dict[str, Any]) -> str:
    speed, spent = measured["tokens"] / measured["seconds"], measured["processor_seconds"]
    return (
        f"{name:<16} {measured['seconds']:8.1f} s ({spent:.1f} of processor) {speed:8.0f} tokens/s  "
        f"{memory(measured)}  loss {measured['loss']:.4f}  from {measured['start']}  {measured['note']}"
    )


def memory(measured: dict[str, Any]) -> str:
    if measured["peak_bytes"] is None:
        return "peak unknown"
    return f"peak {measured['peak_bytes'] / MIB:6.0f} MiB ({measured['resident_bytes'] / MIB:.0f} before)"


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Median (least–most)."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def table(run: Run, sides: list[Side], rates: list[float], parameters: int) -> None:
    cost = 6 if run.workload["method"] == "full" else 4
    print(f"\n{'':<16} {'tokens/s':<24} {'% of products':<22} {'peak MiB':<24} {'of it, training':<24} validation loss")
    for side in sides:
        speeds = side.speeds()
        shares = [100 * speed * cost * parameters / rate for speed, rate in zip(speeds, rates, strict=True)]
        peaks = own = "unknown"
        if None not in side.column("peak_bytes"):
            peaks = spread([peak / MIB for peak in side.column("peak_bytes")], 0)
            own = spread([(m["peak_bytes"] - m["resident_bytes"]) / MIB for m in side.seen], 0)
        cells = [spread(speeds, 0), spread(shares, 1), peaks, own, spread(side.column("loss"), 4)]
        print(f"{side.name:<16} {cells[0]:<24} {cells[1]:<22} {cells[2]:<24} {cells[3]:<24} {cells[4]}")
    bound = [rate / cost / parameters for rate in rates]
    print(
        f"% of products: what bf16 matrix products alone allow is {spread(bound, 0)} tokens/s: the measured rate, "
        f"{spread([rate / 1e9 for rate in rates], 0)} GFLOP/s, over {cost} FLOPs for each of {parameters:,} parameters "
        "and token. Parameters are all of the model's, tied embeddings once."
    )


def ratios(sides: list[Side]) -> None:
    ours = next((side for side in sides if side.name == OURS), None)
    for side in sides:
        if ours is None or side is ours:
            continue
        pairs = list(zip(ours.seen, side.seen, strict=True))
        speed = [mine / theirs for mine, theirs in zip(ours.speeds(), side.speeds(), strict=True)]
        spent = [theirs["processor_seconds"] / mine["processor_seconds"] for mine, theirs in pairs]
        loss = [100 * (mine["loss"] / theirs["loss"] - 1) for mine, theirs in pairs]
        told = f"fairtune / {side.name}: tokens/s {spread(speed)}, tokens a second of processor {spread(spent)}"
        if None not in ours.column("peak_bytes") + side.column("peak_bytes"):
            told += f", peak {spread([mine['peak_bytes'] / theirs['peak_bytes'] for mine, theirs in pairs])}"
        print(f"{told}, validation loss {spread(loss)} % away")


def main() -> None:
    options = arguments()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        workload = prepare(options.workload, options.data, options.rows, options.held_out, options.seed)
        (folder / "workload.json").write_text(json.dumps(workload))
        run = Run(folder, workload, options.threads)
        sides = sides_of(options)
        before = run.score()
        print(
            f"{workload['name']}: {len(workload['rows'])} rows, {total(workload, 'tokens'):,} tokens, "
            f"{total(workload, 'supervised'):,} with loss, up to {workload['max_length']}; "
            f"{len(workload['validation'])} held-out rows, loss {before['loss']:.4f} before; {options.threads} threads",
            flush=True,
        )
        rates = measure(run, sides, options.rounds)
        table(run, sides, rates, before["parameters"])
        ratios(sides)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", choices=WORKLOADS, default="alpaca")
    parser.add_argument("--rows", type=int, help="training rows; the default depends on the workload")
    parser.add_argument("--held-out", type=int, default=100, help="validation rows")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sides", default=f"{OURS},trl,trl-grouped,{SAME_ORDER},trl-defaults")
    parser.add_argument("--try", dest="tries", action="append", default=[], metavar="SIDE:KEY=VALUE,…")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--litgpt-python", help="an interpreter that has litgpt; adds the side litgpt")
    parser.add_argument("--torchtune-python", help="an interpreter that has torchtune; adds the side torchtune")
    return parser.parse_args()


if __name__ == "__main__":
    main()
