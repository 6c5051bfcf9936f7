"""Whether an adapter is one that can become part of the weights."""

from __future__ import annotations

import json

from fairtune.errors import ModelError
from fairtune.models.export.protocol import Finished

CONFIG = "adapter_config.json"


def require_mergeable(run: Finished) -> None:
    """Looks at the adapter's own description; loads no weights.

    Raises:
        ModelError: the adapter is no change of weights, or not in PEFT's layout.
    """
    if run.adapter is None:
        return
    require_adapter(run)
    if "peft_type" not in json.loads((run.adapter / CONFIG).read_text(encoding="utf-8")):
        raise ModelError(
            f"run {run.spec.run_id} ({run.spec.method.label}): what it trained is no change of weights, so it cannot "
            "be merged into them; use --to adapter"
        )
    from peft import PeftConfig
    from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING

    kind = PeftConfig.from_pretrained(str(run.adapter)).peft_type
    if not hasattr(PEFT_TYPE_TO_TUNER_MAPPING.get(kind), "merge_and_unload"):
        raise ModelError(
            f"run {run.spec.run_id} ({run.spec.method.label}): what it trained is no change of weights "
            f"({getattr(kind, 'value', kind)}), so it cannot be merged into them; use --to adapter"
        )


def require_adapter(run: Finished) -> None:
    """Looks whether what the run saved is there.

    Raises:
        ModelError: it is gone.
    """
    if run.adapter is not None and not (run.adapter / CONFIG).is_file():
        raise ModelError(
            f"run {run.spec.run_id} ({run.spec.method.label}): {run.adapter} has no {CONFIG}; it was removed. Move "
            "the run's folder away and run its study again"
        )
