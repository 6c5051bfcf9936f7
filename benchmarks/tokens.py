"""From rows to tokens with loss masks: the tokenizer alone, fairtune, and datasets.map with two processes.

    python benchmarks/tokenize.py alpaca_52k.jsonl.gz [--rows 50000] [--rounds 3]

The three take turns in one process, in an order that changes from round to round, so that whatever else the machine
does hits all of them. Printed are medians over the rounds, and the median of each round's ratio, for the same rows.
(Ours has a token less in each: the template's last line end, which nothing follows.) Processor time says more than
time where others use the machine too.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import resource
import shutil
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fairtune.data import Message, make_example
from fairtune.data.starter import SMALL_MODEL
from fairtune.data.template import FIXED
from fairtune.execute.tokens import TokenStore
from fairtune.models import fetch, identify
from fairtune.models.opening import open_tokenizer
from fairtune.study import ModelRef

_BATCH = 1000


def read(file: Path, rows: int) -> list[dict[str, str]]:
    """Alpaca's rows as prompt and completion; those without an answer are left out."""
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        found = [json.loads(line) for line in lines]
    whole = [row for row in found if row["output"].strip()][:rows]
    return [
        {"prompt": "\n".join(filter(None, (row["instruction"], row.get("input")))), "completion": row["output"]}
        for row in whole
    ]


def conversation(row: dict[str, str]) -> list[dict[str, str]]:
    return [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row["completion"]}]


def alone(texts: list[str], backend: Any) -> int:
    """Texts that are already rendered to lists of ids, nothing else."""
    tokens = 0
    for start in range(0, len(texts), _BATCH):
        found = backend.encode_batch_fast(texts[start : start + _BATCH], add_special_tokens=False)
        tokens += sum(len(ids) for ids in [one.ids for one in found])
    return tokens


def ours(examples: list[Any], tokenizer: Any) -> int:
    """Examples to a mapped table with masks, in an empty cache."""
    cache = Path(os.environ["FAIRTUNE_CACHE"]) / "tokens"
    shutil.rmtree(cache, ignore_errors=True)
    return int(TokenStore(tokenizer).get(examples).table.lengths.sum())


def usual(rows: Any, tokenizer: Any) -> int:
    """What people write: template for prompt and whole, tokens of both, -100 over the prompt; its cache unused."""

    def prepare(batch: dict[str, list[str]]) -> dict[str, list[Any]]:
        turns = [
            conversation({"prompt": prompt, "completion": completion})
            for prompt, completion in zip(batch["prompt"], batch["completion"], strict=True)
        ]
        options = {"tokenize": False, **FIXED}
        prompts = tokenizer.apply_chat_template([t[:-1] for t in turns], add_generation_prompt=True, **options)
        texts = tokenizer.apply_chat_template(turns, **options)
        whole = tokenizer(texts, add_special_tokens=False)["input_ids"]
        heads = tokenizer(prompts, add_special_tokens=False)["input_ids"]
        labels = [[-100] * len(head) + ids[len(head) :] for head, ids in zip(heads, whole, strict=True)]
        return {"input_ids": whole, "labels": labels}

    made = rows.map(prepare, batched=True, num_proc=2, remove_columns=rows.column_names, load_from_cache_file=False)
    return sum(len(chunk.values) for chunk in made.data.column("input_ids").chunks)


def timed(work: Callable[[], int]) -> tuple[int, float, float]:
    """Tokens, seconds, and processor seconds with those of child processes."""
    # `datasets.map` switches the tokenizer's threads off for the whole process before it forks.
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    before, started = spent(), time.perf_counter()
    tokens = work()
    return tokens, time.perf_counter() - started, spent() - before


def spent() -> float:
    uses = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(use.ru_utime + use.ru_stime for use in uses)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("file", type=Path)
    options.add_argument("--rows", type=int, default=50_000)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--model", default=SMALL_MODEL)
    asked = options.parse_args()
    model = identify(ModelRef(source=asked.model), Path())
    tokenizer = open_tokenizer(model, fetch(model, print), ())
    rows = read(asked.file, asked.rows)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FAIRTUNE_CACHE"] = os.environ["HF_DATASETS_CACHE"] = folder
        compare(works(rows, tokenizer, Path(folder)), asked.rounds)


def works(rows: list[dict[str, str]], tokenizer: Any, folder: Path) -> dict[str, Callable[[], int]]:
    import datasets

    datasets.disable_progress_bars()
    warnings.filterwarnings("ignore", message=".*fork.*")
    examples = [make_example(tuple(Message(**turn) for turn in conversation(row))) for row in rows]  # type: ignore[arg-type]
    texts = tokenizer.apply_chat_template([conversation(row) for row in rows], tokenize=False, **FIXED)
    tokenizer("")  # no padding, no truncation
    datasets.Dataset.from_list(rows).save_to_disk(str(folder / "rows"))
    stored = datasets.load_from_disk(str(folder / "rows"))
    return {
        "tokenizer alone": lambda: alone(texts, tokenizer.backend_tokenizer),
        "fairtune": lambda: ours(examples, tokenizer),
        "datasets.map, 2 processes": lambda: usual(stored, tokenizer),
    }


def compare(works: dict[str, Callable[[], int]], rounds: int) -> None:
    names = list(works)
    seen: dict[str, list[tuple[int, float, float]]] = {name: [] for name in names}
    for number in range(rounds):
        for name in names[number % 3 :] + names[: number % 3]:
            seen[name].append(timed(works[name]))
            tokens, seconds, processor = seen[name][-1]
            print(
                f"round {number + 1}  {name:<26}{seconds:8.2f} s {processor:8.2f} s of processor {tokens:>10,} tokens"
            )
    for name in names:
        middle = statistics.median(seconds for _, seconds, _ in seen[name])
        print(f"{name:<26}{middle:8.2f} s {seen[name][0][0] / middle:>10,.0f} tokens/s")
    for other in (names[0], names[2]):
        for kind, at in (("time", 1), ("processor time", 2)):
            ratios = [theirs[at] / mine[at] for mine, theirs in zip(seen[names[1]], seen[other], strict=True)]
            print(
                f"{kind} of {other} / fairtune: {statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"
            )


if __name__ == "__main__":
    main()
