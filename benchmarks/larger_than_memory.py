"""Data larger than memory: tokenised, counted and read at random by a process that may not hold them.

    python benchmarks/larger_than_memory.py [--data 2GiB] [--limit 1GiB] [--tokens-only] [--folder DIR]

Writes rows of text that are all different, then starts a process whose RLIMIT_DATA is the limit: its heap, stacks and
private memory, everything that a machine cannot drop and read again. (A mapped file is none of it, and should not be:
its pages go whenever another process needs them. RLIMIT_AS would count the mapped file, and a control group would count
the page cache, which is the machine's to give.)
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from fairtune.units import format_bytes, parse_bytes

_WORDS = re.findall(
    r"\w+",
    "the of and to in is that for it was on are as with they be at one have this from by hot word but what some "
    "were we can out other all your when up use how said an each she which do their time if will way about many "
    "then them water long little very after words called just where most know ",
)


def write_rows(path: Path, size: int) -> int:
    """A question and an answer a row, until the file has the size; returns the number of rows."""
    draw = random.Random(0)  # noqa: S311 - the same rows every time
    phrases = [" ".join(draw.choices(_WORDS, k=draw.randint(4, 14))) for _ in range(5000)]
    rows = 0
    with path.open("w", encoding="utf-8") as file:
        while file.tell() < size:
            lines = []
            for _ in range(1000):
                rows += 1
                row = {
                    "prompt": f"Question {rows}: {'. '.join(draw.choices(phrases, k=4))}?",
                    "completion": f"{'. '.join(draw.choices(phrases, k=10))}, {rows}.",
                }
                lines.append(json.dumps(row) + "\n")
            file.write("".join(lines))
    return rows


class Watch(threading.Thread):
    """The largest sizes this process has had, looked at ten times a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peaks = dict.fromkeys(("VmData", "RssAnon", "RssFile"), 0)
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(0.1):
            for name, size in _status().items():
                if name in self.peaks:
                    self.peaks[name] = max(self.peaks[name], size)


def _status() -> dict[str, int]:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    pairs = (line.split(":") for line in lines if line.endswith("kB"))
    return {name: int(value.split()[0]) * 1024 for name, value in pairs}


def child(data: Path, tokenizer_folder: Path, limit: int, batches: int, tokens_only: bool) -> None:
    """What is limited: a file to parts, leaks, tables in the cache, counts, and batches at random as training reads."""
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    watch = Watch()
    watch.start()
    from fairtune.data import cut_to, updates
    from fairtune.execute.tokens import TokenStore
    from fairtune.models.load import load_tokenizer

    tokenizer = load_tokenizer(tokenizer_folder, False)
    _tell("after imports", _status()["VmData"])
    examples = _read(data) if tokens_only else _split_and_checked(data)
    _tell("largest VmData so far", watch.peaks["VmData"])
    started = time.perf_counter()
    stored = TokenStore(tokenizer).get(examples)
    seconds = time.perf_counter() - started
    tokens = int(stored.table.lengths.sum())
    print(f"{len(stored.table):,} examples, {tokens:,} tokens in {seconds:.0f} s: {tokens / seconds:,.0f} tokens/s")
    print(f"supervised: {stored.table.supervised():,}; table: {format_bytes(stored.path.stat().st_size)}")
    items, cut = cut_to(stored.table, 128)
    print(f"cut at 128: {cut.examples:,} examples, {cut.tokens:,} tokens")
    started, seen = time.perf_counter(), 0
    plan = updates(len(items), 16, 0, 0)
    for number in range(min(batches, len(plan))):
        seen += sum(len(items[row].tokens) for row in plan[number])
    print(f"{min(batches, len(plan))} shuffled batches of 16: {seen:,} tokens in {time.perf_counter() - started:.1f} s")
    for name, size in watch.peaks.items():
        _tell(f"largest {name}", size)


def _read(data: Path) -> Any:
    """Every row, on disk beyond what is small."""
    from fairtune.data import Examples, Reading, read_rows
    from fairtune.data.rows import Faults
    from fairtune.data.shapes import read_examples

    started, faults = time.perf_counter(), Faults()
    examples = Examples.of(read_examples(read_rows(str(data), Path(), faults), Reading(), faults))
    print(f"{len(examples):,} rows read in {time.perf_counter() - started:.0f} s")
    return examples


def _split_and_checked(data: Path) -> Any:
    """The training part, after the splits and the leak check of a run."""
    from fairtune.data import load_splits
    from fairtune.execute.leaks import find_leaks
    from fairtune.study import Task

    started, task = time.perf_counter(), Task(name="large", train=str(data))
    splits = load_splits(task, Path())
    sizes = ", ".join(f"{name} {len(part):,}" for name, part in splits.parts.items())
    print(f"{sizes}, left out {splits.left_out:,}; read and split in {time.perf_counter() - started:.0f} s", flush=True)
    started = time.perf_counter()
    found = find_leaks(task, splits, splits.fingerprint())
    print(f"leaks looked for in {time.perf_counter() - started:.0f} s; {found.duplicates:,} duplicates")
    for overlap in found.overlaps:
        pairs = f"{overlap.pairs:,} pairs" if overlap.pairs is not None else f"not counted: {overlap.reason}"
        print(f"  {' and '.join(overlap.between)}, {overlap.kind}: {pairs}")
    return splits.train


def _tell(what: str, size: int) -> None:
    print(f"{what}: {format_bytes(size)}", flush=True)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=parse_bytes, default="2GiB")
    options.add_argument("--limit", type=parse_bytes, default="1GiB")
    options.add_argument("--folder", type=Path, help="where to write; the system's temporary folder unless given")
    options.add_argument("--batches", type=int, default=2000)
    options.add_argument("--tokens-only", action="store_true", help="no splits and no leak check: a third of the time")
    options.add_argument("--child", nargs=2, type=Path, help=argparse.SUPPRESS)
    asked = options.parse_args()
    if asked.child:
        child(*asked.child, asked.limit, asked.batches, asked.tokens_only)
        return
    from fairtune.data.starter import SMALL_MODEL
    from fairtune.models import fetch, identify
    from fairtune.study import ModelRef

    model = fetch(identify(ModelRef(source=SMALL_MODEL), Path()), print)
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        data = Path(folder) / "rows.jsonl"
        print(f"{write_rows(data, asked.data):,} rows, {format_bytes(data.stat().st_size)}")
        arguments = ["--child", str(data), str(model), "--limit", str(asked.limit), "--batches", str(asked.batches)]
        arguments += ["--tokens-only"] if asked.tokens_only else []
        changed = {**os.environ, "FAIRTUNE_CACHE": folder}
        subprocess.run([sys.executable, __file__, *arguments], check=True, env=changed)


if __name__ == "__main__":
    main()
