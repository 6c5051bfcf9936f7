"""lm-eval's own command, which then knows ``--model fairtune``.

``python -m fairtune.evaluate.harness --model fairtune --model_args pretrained=FOLDER,adapter=FOLDER --tasks …``

lm-eval looks for models in its own table alone: it has no entry points, and ``--include_path`` is for tasks. So the
table must be filled by whoever calls it, and nothing else is done here.
"""

from __future__ import annotations

import sys

from lm_eval.__main__ import cli_evaluate

import fairtune.evaluate.harness.opening  # noqa: F401 - registers the model
from fairtune.errors import FairtuneError


def main() -> None:
    """Runs lm-eval; what is wrong with the request is told in a sentence."""
    try:
        cli_evaluate()
    except FairtuneError as error:
        print(f"fairtune: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
