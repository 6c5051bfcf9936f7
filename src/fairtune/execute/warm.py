"""What the fork server imports, and every run then finds in memory.

Nothing that is imported is ever let go, so the search for objects to let go waits until all is there: it takes a fifth
of the time. Then they are set aside, as Python's documentation of ``gc.freeze`` advises before a fork.
"""

from __future__ import annotations

import gc
from importlib import import_module

gc.disable()
for _name in ("fairtune.execute.worker", "fairtune.execute.plan_worker", "fairtune.cli"):
    import_module(_name)
gc.freeze()
gc.enable()
