"""Benchmarks beside lm-evaluation-harness with its own Hugging Face backend: seconds, memory, and the same numbers.

    .venv/bin/python benchmarks/evaluate.py --data FOLDER [--precisions fp32 bf16]
        [--workloads hellaswag mmlu arc gsm8k] [--items 200 0 50 50] [--batch-sizes 1 4 8 16] [--rounds 1]

FOLDER holds ``hellaswag``, ``mmlu`` and ``gsm8k`` in their original forms (docs/benchmarks.md). Both sides get the same
requests, made by lm-eval's own tasks, and answer them with the same weights, each in a process of its own, in turn.
lm-eval has whichever of the batch sizes is quickest on a sample of the workload. ARC's questions are not at hand:
``arc`` asks MMLU's short ones in ARC's form, with 25 examples and several tokens a choice. ``--items`` counts
questions; 0 is all of them. What operations alone allow: those of lm-eval without its padding, over those of fairtune.
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from peers.alternate import in_turn, middle, one
from transformers import AutoConfig

from fairtune.data.starter import SMALL_MODEL
from fairtune.evaluate.harness.encoding import Encoder
from fairtune.evaluate.harness.tasks import open_benchmark
from fairtune.evaluate.tree import grow
from fairtune.models import fetch, identify
from fairtune.models.opening import open_tokenizer
from fairtune.study import BenchmarkRef, ModelRef

ROOT = Path(__file__).parents[1]
SIDES = ("fairtune", "lm-eval")
GOALS = {"hellaswag": 1.8, "mmlu": 7.0, "arc": 15.0, "gsm8k": 2.5}
SHOTS = {"hellaswag": 0, "mmlu": 5, "gsm8k": 5}
# Requests of the sample on which lm-eval's batch size is chosen.
SAMPLE = 32
SAMPLE_TOKENS = 32
CHOICES = 4


def requests(name: str, data: Path, items: int) -> tuple[str, list[Any]]:
    """The kind of a workload's requests, and their arguments."""
    if name == "arc":
        return "loglikelihood", arc_style(data, items)
    os.environ["FAIRTUNE_BENCHMARK_DATA"] = str(data)
    ref = BenchmarkRef(benchmark=f"studies/benchmarks/{name}.yaml", num_fewshot=SHOTS[name], limit=items or None)
    found = [instance for task in open_benchmark(ref, ROOT).tasks.values() for instance in task.instances]
    return found[0].request_type, [list(instance.args) for instance in found]


def arc_style(data: Path, items: int) -> list[Any]:
    rows = []
    for file in sorted((data / "mmlu" / "test").glob("*.csv")):
        with file.open(encoding="utf-8", newline="") as lines:
            rows += list(csv.reader(lines))[1:]
    short = [row for row in rows if len(row[0]) < 200 and all(3 < len(choice) < 60 for choice in row[1:5])]
    random.Random(0).shuffle(short)  # noqa: S311
    header = "".join(f"Question: {row[0]}\nAnswer: {row[1 + int(row[5])]}\n\n" for row in short[:25])
    chosen = short[25 : 25 + items] if items else short[25:]
    return [[f"{header}Question: {row[0]}\nAnswer:", f" {choice}"] for row in chosen for choice in row[1:5]]


def allowed(folder: Path, tokenizer: Any, pairs: Sequence[Any]) -> float:
    """Operations of whole requests one by one, over those of a tree with logits where they are asked for."""
    config = AutoConfig.from_pretrained(folder)
    width, inner, heads = config.hidden_size, config.intermediate_size, config.num_attention_heads
    key_width = config.num_key_value_heads * width // heads
    body = config.num_hidden_layers * (2 * width * width + 2 * width * key_width + 3 * width * inner)
    head = config.vocab_size * width
    encoder = Encoder(tokenizer, None)
    texts = encoder.encode([context + more for context, more in pairs])
    contexts = encoder.encode([context for context, _ in pairs])
    read = [text[:-1] for text in texts]
    unique = {text: len(text) - len(context) for text, context in zip(read, contexts, strict=True)}
    places = {text[:stop] for text, more in unique.items() for stop in range(len(text) - more, len(text) + 1)}
    tree = sum(node.size for node in grow(list(unique), [[] for _ in unique]))
    # lm-eval answers choices of one token after one context in one pass.
    whole = sum(map(len, unique))
    return whole * (body + head) / (tree * body + len(places) * head)


def best_batch(workload: dict[str, Any], sizes: Sequence[int]) -> int:
    """The quickest on a sample, spread over the workload; of answers their first tokens are written."""
    step = max(1, len(workload["requests"]) // SAMPLE)
    chosen = workload["requests"][::step][:SAMPLE]
    if workload["kind"] == "generate_until":
        chosen = [[context, {**settings, "max_gen_toks": SAMPLE_TOKENS}] for context, settings in chosen]
    sample = {**workload, "requests": chosen}
    took = {size: one("lm-eval", {**sample, "batch_size": size})[0]["seconds"] for size in sizes}
    print(
        "  lm-eval by batch size, on a sample:", ", ".join(f"{size}: {took[size]:.1f} s" for size in sizes), flush=True
    )
    return min(took, key=lambda size: took[size])


def compared(kind: str, ours: Any, theirs: Any) -> str:
    if kind == "generate_until":
        same = sum(one == other for one, other in zip(ours, theirs, strict=True))
        return f"{same} of {len(ours)} answers the same text"
    apart = max(abs(one[0] - other[0]) for one, other in zip(ours, theirs, strict=True))
    flags = sum(one[1] == other[1] for one, other in zip(ours, theirs, strict=True))
    picks = sum(picked(ours, first) == picked(theirs, first) for first in range(0, len(ours), CHOICES))
    return (
        f"log-likelihoods within {apart:.1e}; {flags} of {len(ours)} greedy flags and {picks} of "
        f"{len(ours) // CHOICES} choices the same"
    )


def picked(answers: Sequence[Any], first: int) -> int:
    """Which of a question's choices is the likeliest."""
    return max(range(CHOICES), key=lambda choice: answers[first + choice][0])


def main() -> None:
    options = arguments()
    choice = identify(ModelRef(source=SMALL_MODEL), Path())
    folder = fetch(choice, print)
    tokenizer = open_tokenizer(choice, folder, ())
    for precision in options.precisions:
        ratios = []
        for name, items in zip(options.workloads, options.items, strict=True):
            kind, asked = requests(name, options.data, items)
            workload = {"name": name, "kind": kind, "model": str(folder), "precision": precision, "requests": asked}
            print(f"{precision} {name}: {len(asked)} requests", flush=True)
            workload |= {"longest": 512, "batch_size": 1}
            workload["batch_size"] = best_batch(workload, options.batch_sizes)
            ratios.append(report(name, workload, options, folder, tokenizer))
        mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
        print(f"{precision}: geometric mean {mean:.2f} (goal 5)", flush=True)


def report(name: str, workload: dict[str, Any], options: argparse.Namespace, folder: Path, tokenizer: Any) -> float:
    found = in_turn(SIDES, workload, options.rounds)
    (ours, answers), (theirs, expected) = (found[side] for side in SIDES)
    for side, measured in zip(SIDES, (ours, theirs), strict=True):
        peak = middle(measured, "peak_bytes")
        batch = f" (batch size {workload['batch_size']})" if side == "lm-eval" else ""
        print(f"  {side:9} {middle(measured, 'seconds'):8.1f} s  peak {peak / 2**20:6.0f} MiB{batch}")
    ratios = [b["seconds"] / a["seconds"] for a, b in zip(ours, theirs, strict=True)]
    ratio = middle([{"ratio": each} for each in ratios], "ratio")
    told = ", ".join(f"{each:.2f}" for each in ratios)
    if workload["kind"] == "loglikelihood":
        may = allowed(folder, tokenizer, workload["requests"])
        print(f"  ratio {told} (goal {GOALS[name]}; operations allow {may:.2f}: {ratio / may:.0%} of that)")
    else:
        print(f"  ratio {told} (goal {GOALS[name]})")
    print(f"  {compared(workload['kind'], answers, expected)}", flush=True)
    return ratio


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--workloads", nargs="+", default=list(GOALS))
    parser.add_argument("--items", nargs="+", type=int, default=[200, 0, 50, 50])
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[1, 4, 8, 16])
    parser.add_argument("--rounds", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
