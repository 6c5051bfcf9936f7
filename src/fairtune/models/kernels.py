"""How many of its kernels oneDNN keeps: memory that grows with every new number of tokens, and speeds nothing up.

On a CPU, oneDNN makes a kernel for every shape of a bf16 product: about 0.6 MiB on a processor with AVX512-BF16. It
keeps the last 1,024, and torch's layer above it keeps as many of its own. Packed texts are rarely twice equally long,
so a training came to hold 600 MiB of kernels that it never used again. All layers of a model share the shapes of a
pass, a few dozen of them; that many are worth keeping (docs/log.md).
"""

from __future__ import annotations

import os

_KEPT = 64
# oneDNN's own cache of primitives, and that of ideep, the layer between it and torch.
_CACHES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")


def keep_few_kernels() -> None:
    """For this process, if it has not multiplied in bf16 yet, and unless the environment says otherwise."""
    for name in _CACHES:
        os.environ.setdefault(name, str(_KEPT))
