"""Tests of answers that are programs, read out of a row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fairtune.data.examples import Checks
from fairtune.data.shapes.columns import optional

# The names by which `columns:` of a task tells them; rows have no tests unless it names the first.
TESTS, PRELUDE, ENTRY_POINT = "tests", "prelude", "entry_point"


def read_checks(columns: Mapping[str, Any], names: Mapping[str, str]) -> Checks | None:
    """The tests of a row: ``prelude``, answer, ``tests``, and the call ``check(entry_point)`` where there is one.

    Tests are text, or a list of statements. None where the task names no column of tests, or the row has none in it.

    Args:
        columns: with the task's names for them.
        names: the task's ``columns``.

    Raises:
        ValueError: a column that the task names is not text.
    """
    if TESTS not in names:
        return None
    tests = columns.get(TESTS)
    if isinstance(tests, list) and all(isinstance(line, str) for line in tests):
        columns = {**columns, TESTS: "\n".join(tests)}
    parts = {name: optional(columns, name) for name in (TESTS, PRELUDE, ENTRY_POINT) if name in names}
    found = parts[TESTS]
    if found is None:
        return None
    called = parts.get(ENTRY_POINT)
    return Checks(parts.get(PRELUDE) or "", f"{found}\n\ncheck({called})" if called else found)
