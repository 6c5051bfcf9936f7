"""glibc's malloc, told to give back what is freed.

By default it keeps blocks of up to 32 MiB in one heap. Where activations are computed again, layer by layer, blocks
that stay lie between large ones that go, and the gaps are as large as what recomputing saves: SmolLM2-135M, LoRA, fp32,
1,024 tokens took 2,176 MiB, and 1,233 with every large block mapped for itself (docs/log.md). Mapping costs time, which
is what recomputing gives for memory anyhow; other runs keep the default.
"""

from __future__ import annotations

import contextlib
import ctypes

LARGE_BLOCK = 128 * 1024
"""Bytes from which on a block is mapped for itself: glibc's own threshold before it rises."""

_M_MMAP_THRESHOLD = -3  # malloc.h


def map_large_blocks_apart() -> None:
    """For this process, from here on. Other C libraries have no such thing, and other habits."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").mallopt(_M_MMAP_THRESHOLD, LARGE_BLOCK)
