"""Where weights come from: one file a source. The first that claims a text has it."""

from __future__ import annotations

from pathlib import Path

from fairtune.errors import ModelError
from fairtune.models.sources import folder, gguf, hub, wheel
from fairtune.models.sources.place import ModelSource, Say
from fairtune.study import ModelChoice, ModelRef

SOURCES: dict[str, ModelSource] = {"pypi": wheel, "gguf": gguf, "folder": folder, "hub": hub}


def identify(ref: ModelRef, root: Path) -> ModelChoice:
    """A model by the fingerprint of its weights. Nothing large is fetched.

    Raises:
        ModelError: no source knows the text, or the source does not have the model.
    """
    kind = _kind_of(ref.source, root)
    resolved = SOURCES[kind].resolve(ref, root)
    return ModelChoice(
        name=ref.name or SOURCES[kind].short_name(ref.source),
        kind=kind,
        source=resolved.source,
        revision=resolved.revision,
        trust_remote_code=ref.trust_remote_code,
        fingerprint=resolved.fingerprint,
    )


def fetch(model: ModelChoice, say: Say) -> Path:
    """A local folder with the model's config, tokenizer and safetensors.

    Raises:
        ModelError: it cannot be had, or only in a form that could run code.
        BudgetError: not enough disk space.
    """
    return SOURCES[model.kind].fetch(model.source, model.revision, say)


def _kind_of(text: str, root: Path) -> str:
    for kind, source in SOURCES.items():
        if source.claims(text, root):
            return kind
    raise ModelError(
        f"model '{text}': not understood. Allowed: a hub id (owner/name), a folder (./folder), a file (./file.gguf), "
        "or a file in a wheel (pypi:NAME==VERSION/FILE.gguf)"
    )


__all__ = ["SOURCES", "ModelSource", "Say", "fetch", "identify"]
