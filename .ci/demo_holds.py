"""Checks what the README promises of `make demo`: all runs ok, LoRA over 60 BLEU, the base under 5, quick when done."""

from __future__ import annotations

import json
import subprocess
import sys
import time

runs, study = sys.argv[1:]
fairtune = [sys.executable, "-m", "fairtune"]

started = time.monotonic()
subprocess.run([*fairtune, "run", study, "--runs", runs], check=True, stdout=subprocess.DEVNULL)
seconds = time.monotonic() - started
assert seconds < 20, f"a finished demo took {seconds:.1f} s again"

text = subprocess.run(
    [*fairtune, "report", study, "--runs", runs, "--format", "json"], check=True, capture_output=True, text=True
).stdout
records = json.loads(text)["runs"]
assert [record["status"] for record in records] == ["ok"] * 5, "a run is not ok"
bleu = {(r["spec"]["method"]["name"], r["spec"]["seed"]): r["metrics"]["bleu"]["value"] for r in records}
assert all(value > 60 for (method, _), value in bleu.items() if method == "lora"), bleu
assert all(value < 5 for (method, _), value in bleu.items() if method == "base"), bleu
print(f"demo holds: BLEU {bleu}; finished demo again in {seconds:.1f} s")
