"""``config: ./folder``, ``config: ./config.json`` or ``config: {…}``: a model to plan with, which nobody can run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

from fairtune.errors import ModelError
from fairtune.models.sources.described import CONFIG, hash_in, hash_of, read_config, shape_in, stated_type
from fairtune.models.sources.folder import full_path
from fairtune.models.sources.place import ModelShape, Resolved, Say
from fairtune.study import ModelChoice, ModelRef

STATED_BY = "the study"

_SIZES = (("num_hidden_layers", "n_layer"), ("hidden_size", "n_embd"))


def claims(ref: ModelRef, root: Path) -> bool:
    """Whether a configuration stands there, and no source."""
    return ref.config is not None and not ref.source


def short_name(ref: ModelRef) -> str:
    """The folder's or file's own name; of keys in the study, architecture, layers and width."""
    if isinstance(ref.config, str):
        path = Path(ref.config)
        if path.name == CONFIG:
            path = path.parent
        return path.name.removesuffix(".json") or ref.config
    told = ref.config or {}
    sizes = [told.get(one, told.get(other)) for one, other in _SIZES]
    return f"{told.get('model_type')}-{'x'.join(map(str, sizes))}" if all(sizes) else str(told.get("model_type"))


def resolve(ref: ModelRef, root: Path) -> NoReturn:
    """There is nothing to run.

    Raises:
        ModelError: always.
    """
    raise ModelError(
        f"model '{ref.name or short_name(ref)}': has a configuration and no weights, so it can be planned and not run. "
        "To run it, give the place of its weights as `source`"
    )


def outline(ref: ModelRef, root: Path) -> Resolved:
    """What stands for the configuration.

    Raises:
        ModelError: as for :func:`settled`.
    """
    config = settled(ref.config, root)
    if isinstance(config, str):
        return Resolved(config, fingerprint_of(config))
    if config is not None:
        return Resolved(f"config: {short_name(ref)}", fingerprint_of(config))
    raise ModelError(f"model '{ref.source}': states no configuration")


def fetch(source: str, revision: str | None, say: Say) -> NoReturn:
    """There is nothing to fetch.

    Raises:
        ModelError: always.
    """
    raise ModelError(f"model '{source}': has a configuration and no weights")


describe = fetch


def shape(model: ModelChoice, say: Say) -> ModelShape:
    """What the study states.

    Raises:
        ModelError: nothing, or the file that it names is gone.
    """
    if model.config is None:
        raise ModelError(f"model '{model.name}': the study states no configuration")
    return stated(model.config)


def settled(config: str | dict[str, Any] | None, root: Path) -> str | dict[str, Any] | None:
    """What a study states, with the full path of the config.json where it names one.

    Raises:
        ModelError: no such file, or none that could be a config.json.
    """
    if not isinstance(config, str):
        return config
    path = full_path(config, root)
    if path.is_dir():
        path = path / CONFIG
    read_config(path)
    return str(path)


def stated(config: str | dict[str, Any]) -> ModelShape:
    """A model by what the study states, as :func:`settled` gives it.

    Raises:
        ModelError: the file that it names is gone.
    """
    if isinstance(config, str) and Path(config).name == CONFIG:
        return shape_in(Path(config).parent, STATED_BY)
    told = read_config(Path(config)) if isinstance(config, str) else config
    return ModelShape(told, None, STATED_BY, stated_type(told))


def fingerprint_of(config: str | dict[str, Any]) -> str:
    """What stands for a configuration as :func:`settled` gives it, and for the tokenizer that lies beside it.

    Raises:
        ModelError: the file that it names is gone.
    """
    if isinstance(config, str) and Path(config).name == CONFIG:
        return hash_in(Path(config).parent)
    return hash_of(read_config(Path(config)) if isinstance(config, str) else config)
