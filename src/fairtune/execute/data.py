"""What ``fairtune data`` looks at: the data of a study, of a task, or of a file of the user's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fairtune.data import Splits, load_splits
from fairtune.execute.request import vocabulary
from fairtune.study import LoadedStudy, Task, load_study, load_task
from fairtune.study.yaml_file import read_yaml
from fairtune.tasks import TASKS

_YAML = {".yaml", ".yml"}


@dataclass(frozen=True)
class Opened:
    """A task and its rows; the study it was asked for in, where there is one. ``root``: relative paths start there."""

    task: Task
    root: Path
    splits: Splits
    study: LoadedStudy | None = None


def open_data(place: str) -> Opened:
    """The data behind a study file, a task file, a shipped task's name, or a file of rows.

    Raises:
        SpecError: a file that says something wrong.
        DataError: rows that cannot be used.
    """
    study = None
    if place in TASKS:
        task, root = load_task(TASKS[place]), TASKS[place].parent
    elif Path(place).suffix.lower() not in _YAML:
        task, root = Task(name="data", train=str(Path(place).resolve())), Path()
    elif "task" in read_yaml(Path(place)):
        study = load_study(Path(place), vocabulary())
        task, root = study.task, study.task_root
    else:
        task, root = load_task(Path(place)), Path(place).resolve().parent
    return Opened(task, root, load_splits(task, root), study)
