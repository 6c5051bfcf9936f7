"""Whether an adapter is one that can become part of the weights."""

from __future__ import annotations

from fairtune.errors import ModelError
from fairtune.models.export.protocol import Finished


def require_mergeable(run: Finished) -> None:
    """Looks at the adapter's own description; loads no weights.

    Raises:
        ModelError: the adapter is no change of weights, or not in PEFT's layout.
    """
    if run.adapter is None:
        return
    require_peft(run)
    from peft import PeftConfig
    from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING

    kind = PeftConfig.from_pretrained(str(run.adapter)).peft_type
    if not hasattr(PEFT_TYPE_TO_TUNER_MAPPING.get(kind), "merge_and_unload"):
        raise ModelError(
            f"run {run.spec.run_id} ({run.spec.method.label}): what it trained is no change of weights "
            f"({getattr(kind, 'value', kind)}), so it cannot be merged into them; use --to adapter"
        )


def require_peft(run: Finished) -> None:
    """Looks whether PEFT can read what the run saved.

    Raises:
        ModelError: it has another layout, or is gone.
    """
    if run.adapter is not None and not (run.adapter / "adapter_config.json").is_file():
        raise ModelError(
            f"run {run.spec.run_id} ({run.spec.method.label}): {run.adapter} has no adapter_config.json. Either the "
            "file was removed, or the adapter is of a kind that only fairtune can load, with no form to export it in"
        )
