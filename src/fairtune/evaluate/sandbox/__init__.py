"""Programs that a model wrote, run where they can do no harm. No torch.

``inside.py`` builds the place, ``tested.py`` is what runs there, ``run.py`` holds the limits from outside, ``probe.py``
finds out whether a machine has such a place by trying to break out of it.
"""

from fairtune.evaluate.sandbox.probe import available, confinement
from fairtune.evaluate.sandbox.run import Limits, Verdict, run_code

__all__ = ["Limits", "Verdict", "available", "confinement", "run_code"]
