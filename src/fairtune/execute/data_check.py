"""``fairtune data check``: what the leak check finds in a study's data, and in held-out rows besides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fairtune.data import Leaks, load_held_out
from fairtune.errors import DataError
from fairtune.execute.data import Opened
from fairtune.execute.leaks import find_leaks


def check_data(opened: Opened, against: Sequence[str]) -> Leaks:
    """What is found. ``against``: places of more held-out rows, read as the task's own are.

    Raises:
        DataError: one of them cannot be read.
    """
    taken = sorted({"train", "validation", "test"} & set(against))
    if taken:
        raise DataError(f"--against {taken[0]}: a part of the task has this name; write ./{taken[0]}")
    more = {place: load_held_out(opened.task, place, Path()) for place in against}
    return find_leaks(opened.task, opened.splits, opened.splits.fingerprint(), more).as_given()
