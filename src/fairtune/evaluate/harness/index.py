"""lm-eval's fifteen thousand names: read from its files once a version, ten seconds, and remembered."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fairtune.cache import recall, remember

FOLDER = "lm-eval-tasks"
"""Of the user's cache."""


def task_manager(names: bool = True) -> Any:
    """lm-eval's TaskManager, with all of its own names or none."""
    import lm_eval
    from lm_eval.tasks import TaskManager
    from lm_eval.tasks._index import Entry, Kind

    if not names:
        return TaskManager(include_defaults=False)

    folder = Path(lm_eval.__file__).parent / "tasks"
    key = f"{lm_eval.__version__} {folder}"
    known = recall(FOLDER, key)
    if known is None:
        manager = TaskManager()
        remember(FOLDER, key, json.dumps([_plain(entry) for entry in manager.task_index.values()]))
        return manager
    manager = TaskManager(include_defaults=False)
    for name, kind, path, tags in json.loads(known):
        manager.task_index[name] = Entry(name, Kind[kind], Path(path) if path else None, None, set(tags))
    return manager


def add_group(manager: Any, name: str, path: Path) -> None:
    """Makes a group's file known: lm-eval itself takes the path of a task, but not that of a group."""
    from lm_eval.tasks._index import Entry, Kind

    manager.task_index[name] = Entry(name, Kind.GROUP, path, None)


def _plain(entry: Any) -> list[Any]:
    return [entry.name, entry.kind.name, str(entry.yaml_path) if entry.yaml_path else None, sorted(entry.tags)]


def nearest(name: str, names: Iterable[str]) -> list[str]:
    """Up to three names that look like it: those that contain it, the shortest first, then those spelled nearly so."""
    known = list(names)
    holding = sorted((each for each in known if name.lower() in each.lower()), key=len)
    return list(dict.fromkeys([*difflib.get_close_matches(name, known, n=3), *holding]))[:3]
