"""What surrounds every call of lm-eval: its seeds, its silence; templates are compiled once, items processed once."""

from __future__ import annotations

import contextlib
import functools
import logging
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

# lm-eval's own seeds of everything but the few-shot examples: some tasks draw while they read their data.
_PYTHON_SEED, _NUMPY_SEED = 0, 1234
_TEMPLATES = 1024


@contextlib.contextmanager
def calling_lm_eval() -> Iterator[None]:
    """lm-eval with its seeds and without its remarks; everybody else's draws go on as if nothing had been drawn."""
    with _seeds(), _silence(), _templates(), _splits():
        yield


@contextlib.contextmanager
def _seeds() -> Iterator[None]:
    before, numpy_before = random.getstate(), np.random.get_state()
    random.seed(_PYTHON_SEED)
    np.random.seed(_NUMPY_SEED)
    try:
        yield
    finally:
        random.setstate(before)
        np.random.set_state(numpy_before)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """No progress bars of its own, and errors alone of its log: what matters is said by us."""
    import datasets
    import lm_eval.api.task as task_module

    logger = logging.getLogger("lm_eval")
    level, bar, bars = logger.level, task_module.tqdm, datasets.is_progress_bar_enabled()
    logger.setLevel(logging.ERROR)
    task_module.tqdm = lambda items, **_: items
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        task_module.tqdm = bar
        logger.setLevel(level)
        if bars:
            datasets.enable_progress_bars()


@contextlib.contextmanager
def _templates() -> Iterator[None]:
    """A task's few templates are compiled anew for every example of every item otherwise: most of the time it takes."""
    from lm_eval.utils import env

    env.from_string = functools.lru_cache(_TEMPLATES)(env.from_string)
    try:
        yield
    finally:
        del env.from_string


@contextlib.contextmanager
def _splits() -> Iterator[None]:
    """A task's items are processed once, rather than each time that lm-eval asks a task for a split."""
    from lm_eval.api.task import ConfigurableTask

    names = ("training_docs", "validation_docs", "test_docs")
    before = {name: getattr(ConfigurableTask, name) for name in names}
    for name in names:
        setattr(ConfigurableTask, name, _once(before[name]))
    try:
        yield
    finally:
        for name in names:
            setattr(ConfigurableTask, name, before[name])


def _once(method: Callable[[Any], Any]) -> Callable[[Any], Any]:
    known: dict[int, tuple[Any, Any]] = {}

    def asked(task: Any) -> Any:
        # The task is held, so that no other can have its id.
        if id(task) not in known:
            known[id(task)] = task, method(task)
        return known[id(task)][1]

    return asked
