"""Answers to prompts of mixed length beside transformers' ``generate`` with static batches of the same size.

    .venv/bin/python benchmarks/generate.py --data FOLDER [--prompts 200] [--rows 32] [--most 256] [--rounds 1]
        [--precisions fp32 bf16]

FOLDER holds ``alpaca/alpaca_52k.jsonl.gz``. Both sides answer the same prompts greedily, each in a process of its own,
in turn. Prints seconds, new tokens a second, peak resident memory, the ratio, and how many answers are the same text.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
from pathlib import Path
from typing import Any

from peers.alternate import in_turn, middle

from fairtune.data import stop_tokens
from fairtune.data.starter import SMALL_MODEL
from fairtune.models import fetch, identify
from fairtune.models.opening import open_tokenizer
from fairtune.study import ModelRef

SIDES = ("fairtune", "transformers")


def workload(options: argparse.Namespace, precision: str) -> dict[str, Any]:
    """The first prompts of a shuffled Alpaca, as the chat template writes them."""
    choice = identify(ModelRef(source=SMALL_MODEL), Path())
    folder = fetch(choice, print)
    tokenizer = open_tokenizer(choice, folder, ())
    with gzip.open(options.data / "alpaca" / "alpaca_52k.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    random.Random(0).shuffle(rows)  # noqa: S311
    texts = ["\n".join(filter(None, (row["instruction"], row["input"]))) for row in rows[: options.prompts]]
    prompts = [
        tokenizer.apply_chat_template([{"role": "user", "content": text}], add_generation_prompt=True, tokenize=False)
        for text in texts
    ]
    return {
        "name": "prompts",
        "kind": "prompts",
        "model": str(folder),
        "precision": precision,
        "requests": [tokenizer(prompt, add_special_tokens=False)["input_ids"] for prompt in prompts],
        "most": options.most,
        "rows": options.rows,
        "longest": 512,
        "stops": stop_tokens(tokenizer, None),
    }


def main() -> None:
    options = arguments()
    for precision in options.precisions:
        asked = workload(options, precision)
        lengths = [len(prompt) for prompt in asked["requests"]]
        print(f"{precision}: {len(lengths)} prompts of {min(lengths)} to {max(lengths)} tokens, {options.rows} at once")
        found = in_turn(SIDES, asked, options.rounds)
        (ours, answers), (theirs, texts) = (found[side] for side in SIDES)
        tokens = sum(answer["tokens"] for answer in answers)
        for side, measured in zip(SIDES, (ours, theirs), strict=True):
            seconds, peak = middle(measured, "seconds"), middle(measured, "peak_bytes")
            print(f"  {side:13} {seconds:8.1f} s  {tokens / seconds:7.1f} tokens/s  {peak / 2**20:7.0f} MiB")
        ratios = [b["seconds"] / a["seconds"] for a, b in zip(ours, theirs, strict=True)]
        same = sum(answer["text"] == text["text"] for answer, text in zip(answers, texts, strict=True))
        print(f"  ratio {', '.join(f'{ratio:.2f}' for ratio in ratios)}; {same} of {len(texts)} answers the same;")
        ended = sum(answer["stopped"] for answer in answers)
        print(f"  {ended} ended by themselves; {tokens / len(texts):.0f} tokens each", flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--most", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"])
    return parser.parse_args()


if __name__ == "__main__":
    main()
