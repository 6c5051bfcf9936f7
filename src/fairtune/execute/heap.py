"""How the process of a run keeps its heap whole, on Linux.

glibc keeps small blocks that were freed apart, in caches for the next of their size, and what lies beside such a block
is not joined with it. Every operation of torch leaves a few. Large blocks of tensors between them could then not be
given out again where they had been, and a training with LoRA and recomputation took twice the memory of its tensors and
more; without those caches it takes little more than its tensors, and as long (docs/log.md). So it is simulated, too
(plan/allocators/glibc.py).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

_NAME = "GLIBC_TUNABLES"
# The GNU C Library's manual, "Memory Allocation Tunables": both caches, which hold nothing then.
_WITHOUT_CACHES = {"glibc.malloc.tcache_count": "0", "glibc.malloc.mxfast": "0"}


@contextlib.contextmanager
def whole_heaps() -> Iterator[None]:
    """What is started meanwhile has no caches of small blocks, unless the environment asks for them by name.

    They are read where a program begins: nothing changes for this process, nor for another C library.
    """
    before = os.environ.get(_NAME)
    os.environ[_NAME] = _with_ours(before or "")
    try:
        yield
    finally:
        if before is None:
            del os.environ[_NAME]
        else:
            os.environ[_NAME] = before


def _with_ours(given: str) -> str:
    asked = [part for part in given.split(":") if part]
    named = {part.partition("=")[0] for part in asked}
    return ":".join([*asked, *(f"{name}={value}" for name, value in _WITHOUT_CACHES.items() if name not in named)])
