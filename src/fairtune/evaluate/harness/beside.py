"""The user's code that a task file reaches by ``!function``: a changed helper or constant is another benchmark."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from fairtune.cache import hash_file

FILES = (".yaml", ".yml")
"""Endings by which a task file is told from a name of lm-eval's."""


def code_beside(source: str, tasks: Iterable[Any]) -> bytes:
    """Stands for the Python files beside a task file and those that it includes, and the functions of its tasks.

    Which of them a function reads cannot be known, so all are taken. Of lm-eval's own code the version of lm-eval
    stands; nothing is added for tasks that reach no other.

    Args:
        source: the task file, or lm-eval's name of a task.
    """
    folders = {path.parent for path in _files(source)}
    reached = {path for task in tasks for path in _sources(vars(task.config))}
    # ``!function helpers.scores.mean`` lies in a folder below.
    folders |= {path.parent for path in reached if any(folder in path.parents for folder in folders)}
    code = reached.union(*(folder.glob("*.py") for folder in folders))
    # By name alone: a folder that is moved holds the same code.
    return "\n".join(sorted(f"{path.name} {hash_file(path)}" for path in code if not _is_theirs(path))).encode()


def _is_theirs(path: Path) -> bool:
    import lm_eval

    return Path(lm_eval.__file__).parent in path.parents


def _files(source: str) -> list[Path]:
    """The task file and everything that it includes; none where the source is a name."""
    from lm_eval.tasks._yaml_loader import load_yaml

    path = Path(source)
    waiting, found = [path] if path.suffix in FILES else [], list[Path]()
    while waiting:
        path = waiting.pop().resolve()
        if path in found:
            continue
        found.append(path)
        included = load_yaml(path, resolve_func=False, recursive=False).get("include") or []
        waiting += [path.parent / each for each in (included if isinstance(included, list) else [included])]
    return found


def _sources(value: Any) -> Iterator[Path]:
    """Files that define the functions somewhere in a task's settings."""
    if isinstance(value, dict):
        for each in value.values():
            yield from _sources(each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _sources(each)
    elif callable(value):
        yield from _source(value)


def _source(function: Callable[..., Any]) -> Iterator[Path]:
    try:
        found = inspect.getsourcefile(inspect.unwrap(function))
    except TypeError:  # of a partial or of compiled code there is none
        return
    if found:
        yield Path(found).resolve()
