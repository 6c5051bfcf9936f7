"""Kills runs with -9 at random updates, lets the next `fairtune run` go on, and compares every bit of what comes out.

    python benchmarks/kill_and_resume.py [--trials 20] [--seed 0]

A tiny model from scratch, full and LoRA with dropout in turn, with a checkpoint every three updates, so that many kills
hit the writing of one. In every fifth trial the whole command is killed, in a process of its own; in the others the
run's process. Compared with an uninterrupted run: the saved weights byte for byte, loss, gradient norm and learning
rate of every update, validation losses and scores.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from fairtune.cli import main as fairtune

_STUDY = """
name: trial
task: {{name: words, train: words.txt, validation: 0.1, test: 0.1, metrics: [cross_entropy], samples: {{count: 0}}}}
models:
  - scratch: {{architecture: llama, layers: 2, heads: 2, hidden: 32, context: 32, tokenizer: char}}
methods:
  - {method}
training: {{epochs: 6, batch_size: 12, learning_rate: 1e-2}}
budget: {{device: cpu}}
checkpoint: {{updates: 3}}
"""
_METHODS = ("full", "lora: {rank: 4, dropout: 0.1}")


def make_study(folder: Path, method: str) -> Path:
    """A study over a text of random words, the same for every trial."""
    folder.mkdir()
    draw = random.Random(0)  # noqa: S311 - the same words every time
    words = ["".join(draw.choices("abcdefghij", k=draw.randint(2, 6))) for _ in range(40)]
    text = " ".join(draw.choices(words, k=900))
    (folder / "words.txt").write_text(text, encoding="utf-8")
    (folder / "study.yaml").write_text(_STUDY.format(method=method), encoding="utf-8")
    return folder


def command(folder: Path) -> list[str]:
    return ["run", str(folder / "study.yaml"), "--runs", str(folder / "runs")]


def run_inside(folder: Path) -> None:
    """The command in this process, whose fork server is warm."""
    silent = io.StringIO()
    with contextlib.redirect_stdout(silent), contextlib.redirect_stderr(silent), contextlib.suppress(SystemExit):
        fairtune(command(folder))


def run_apart(folder: Path, update: int) -> None:
    """The command in a process of its own, which is killed; its run must end by itself."""
    process = subprocess.Popen(
        [sys.executable, "-m", "fairtune", *command(folder)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    worker = wait_for(folder, update)
    process.send_signal(signal.SIGKILL)
    process.wait()
    psutil.wait_procs([psutil.Process(worker)] if psutil.pid_exists(worker) else [], timeout=30)


def wait_for(folder: Path, update: int) -> int:
    """The process of the run, once so many updates are in its curve."""
    while True:
        for curve in folder.glob("runs/trial/*/curve.jsonl"):
            if curve.read_bytes().count(b"\n") >= update:
                return int(json.loads((curve.parent / "progress.json").read_text(encoding="utf-8"))["pid"])
        time.sleep(0.001)


def killed_run(folder: Path, update: int, pause: float) -> None:
    """A run whose process is killed a moment after the update."""

    def kill() -> None:
        worker = wait_for(folder, update)
        time.sleep(pause)
        os.kill(worker, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    run_inside(folder)
    killer.join()


def outcome(folder: Path) -> dict[str, Any]:
    """Everything that must be the same."""
    (run,) = (folder / "runs" / "trial").glob("*/")
    record = json.loads((run / "record.json").read_text(encoding="utf-8"))
    curve = [json.loads(line) for line in (run / "curve.jsonl").read_text(encoding="utf-8").splitlines()]
    return {
        "status": record["status"],
        "weights": {path.name: path.read_bytes() for path in run.glob("*/*.safetensors")},
        "curve": [{key: value for key, value in line.items() if key != "seconds"} for line in curve],
        "selection": record["selection"],
        "metrics": record["metrics"],
        "tokens": record["tokens"],
    }


def resumed_from(folder: Path) -> int:
    """The update that the run went on from; 0 where no checkpoint was there yet."""
    (path,) = (folder / "runs" / "trial").glob("*/record.json")
    resumed = json.loads(path.read_text(encoding="utf-8"))["resumed"]
    return int(resumed[-1]["update"]) if resumed else 0


def reached(folder: Path) -> int:
    """Updates of the attempt that was killed."""
    (curve,) = (folder / "runs" / "trial").glob("*/attempts/1/curve.jsonl")
    return curve.read_bytes().count(b"\n")


def trial(place: Path, number: int, draw: random.Random, wanted: dict[str, Any]) -> bool:
    """Kills, goes on, compares."""
    method = _METHODS[number % 2]
    folder = make_study(place / str(number), method)
    total = len(wanted["curve"])
    update, apart = draw.randint(1, total - 2), number % 5 == 4
    kill: Callable[[], None] = (
        (lambda: run_apart(folder, update)) if apart else (lambda: killed_run(folder, update, draw.uniform(0, 0.02)))
    )
    kill()
    run_inside(folder)
    found = outcome(folder)
    other = [key for key, value in wanted.items() if found[key] != value]
    what = "the command" if apart else "the run"
    told = "identical" if not other else f"DIFFERENT: {', '.join(other)}"
    print(
        f"{number + 1:3}  {method.partition(':')[0]:5} {what:11} killed at update {reached(folder):2} of {total}, "
        f"went on from {resumed_from(folder):2}: {told}",
        flush=True,
    )
    return not other


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    draw = random.Random(asked.seed)  # noqa: S311 - the same kills every time
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        wanted = []
        for index, method in enumerate(_METHODS):
            run_inside(make_study(place / f"whole-{index}", method))
            wanted.append(outcome(place / f"whole-{index}"))
            assert wanted[-1]["status"] == "ok"
        same = sum(trial(place, number, draw, wanted[number % 2]) for number in range(asked.trials))
    print(f"{same} of {asked.trials} identical, in {time.monotonic() - begun:.0f} s")
    sys.exit(0 if same == asked.trials else 1)


if __name__ == "__main__":
    main()
