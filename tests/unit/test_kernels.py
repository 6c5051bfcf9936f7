"""Kernels of bf16 products are not kept for ever."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

_COUNT = """
import os, sys, torch
from fairtune.models.kernels import keep_few_kernels
keep_few_kernels()
def data():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmData"))
weight, texts = torch.ones(64, 64, dtype=torch.bfloat16), torch.ones(600, 64, dtype=torch.bfloat16)
def products(lengths):
    for length in lengths:
        torch.nn.functional.linear(texts[:length], weight)
products(range(100, 200))
before = data()
products(range(200, 400))
print((data() - before) // 1024)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at /proc")
def test_two_hundred_lengths_of_text_take_no_memory_for_each() -> None:
    """oneDNN would keep about 0.6 MiB for each, where it has kernels for bf16."""
    clean = {name: value for name, value in os.environ.items() if not name.endswith("CACHE_CAPACITY")}
    done = subprocess.run([sys.executable, "-c", _COUNT], env=clean, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 60
