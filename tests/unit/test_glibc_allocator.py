"""glibc's malloc, against closed forms and against itself."""

from __future__ import annotations

import contextlib
import platform
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairtune.execute.heap import whole_heaps
from fairtune.plan.allocators.glibc import GlibcMalloc

KIB, MIB = 2**10, 2**20


def test_large_blocks_are_mapped_until_one_has_been_freed() -> None:
    """The threshold rises to the freed block's size (malloc.c, "dynamic mmap threshold"): the next lies in the heap."""
    found = GlibcMalloc()
    block = found.allocate(8 * MIB)
    assert found.reserved == pytest.approx(8 * MIB, abs=16 * KIB)
    found.free(block)
    assert found.reserved < 16 * KIB
    assert found.threshold == pytest.approx(8 * MIB, abs=16 * KIB)
    again = found.allocate(4 * MIB)
    below = found.allocate(4 * MIB)
    found.free(again)
    assert found.reserved == pytest.approx(8 * MIB, abs=300 * KIB), "a gap in the heap stays resident"
    found.trim()
    assert found.reserved == pytest.approx(4 * MIB, abs=300 * KIB), "until it is trimmed"
    found.free(below)
    found.trim()
    assert found.reserved < 300 * KIB


def test_a_fixed_threshold_gives_everything_back() -> None:
    found = GlibcMalloc(128 * KIB, dynamic=False)
    blocks = [found.allocate(4 * MIB) for _ in range(8)]
    for block in blocks[::2]:
        found.free(block)
    assert found.reserved == pytest.approx(16 * MIB, abs=64 * KIB)


sizes = st.lists(st.tuples(st.integers(1, 6 * MIB), st.booleans()), min_size=1, max_size=60)


@given(steps=sizes)
@settings(max_examples=40, deadline=None)
def test_what_is_held_is_never_less_than_what_is_used(steps: list[tuple[int, bool]]) -> None:
    found, live = GlibcMalloc(), dict[int, int]()
    for size, frees in steps:
        handle = found.allocate(size)
        assert handle not in live
        live[handle] = size
        if frees:
            oldest = next(iter(live))
            found.free(oldest)
            del live[oldest]
        assert found.reserved >= sum(live.values())
    for handle in list(live):
        found.free(handle)
    found.trim()
    assert found.reserved < 512 * KIB


# Blocks as a training step has them: some stay, others go at once, and all of them in the end; three times.
REPLAY = """
import ctypes, random, sys
libc = ctypes.CDLL("libc.so.6")
libc.posix_memalign.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
def resident(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name))
def allocate(size):
    place = ctypes.c_void_p()
    libc.posix_memalign(ctypes.byref(place), 64, size)
    libc.memset(place, 1, size)
    return place
open("/proc/self/clear_refs", "w").write("5")
before = resident("VmRSS")
chance, there = random.Random(0), {}
for line in sys.stdin:
    what, number, size = map(int, line.split())
    if what:
        there[number] = allocate(size)
    else:
        libc.free(there.pop(number))
print(resident("VmHWM") - before)
"""


def steps_of_a_training() -> list[tuple[int, int, int]]:
    import random

    chance, found, number = random.Random(1), [], 0
    for _ in range(3):
        kept = []
        for _ in range(30):
            for _ in range(6):
                number += 1
                size = chance.choice([64 * KIB, 300 * KIB, 600 * KIB, 1200 * KIB, 2 * MIB, 3 * MIB])
                found.append((1, number, size))
                kept.append(number)
                if chance.random() < 0.4:
                    found.append((0, kept.pop(), 0))
        for each in reversed(kept):
            found.append((0, each, 0))
    return found


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="asks glibc itself")
@pytest.mark.parametrize("caches", [True, False])
def test_the_real_one_takes_as_much(caches: bool) -> None:
    steps = steps_of_a_training()
    lines = "".join(f"{what} {number} {size}\n" for what, number, size in steps)
    with contextlib.nullcontext() if caches else whole_heaps():
        asked = {"input": lines, "capture_output": True, "text": True, "check": True}
        ran = subprocess.run([sys.executable, "-c", REPLAY], **asked)
    measured = int(ran.stdout) * KIB
    found, handles, peak = GlibcMalloc(caches=caches), dict[int, int](), 0
    for what, number, size in steps:
        if what:
            handles[number] = found.allocate(size)
        else:
            found.free(handles.pop(number))
        peak = max(peak, found.reserved)
    assert peak == pytest.approx(measured, rel=0.05)
