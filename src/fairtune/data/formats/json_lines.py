"""JSON Lines: one object a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from fairtune.data.formats.layout import ANY, Layout
from fairtune.data.formats.stream import File, lines, not_utf8
from fairtune.data.rows import Faults, Row

_OPENED = (b"{", b"[", b"[{")


def rows(file: File, faults: Faults, layout: Layout = ANY) -> Iterator[Row]:
    """A row a line; blank lines are none."""
    for number, raw in lines(file, faults):
        where = f"{file.name}, line {number}"
        if not raw.strip():
            continue
        try:
            columns: Any = json.loads(raw.decode("utf-8"))
        except UnicodeDecodeError as error:
            faults.add(where, not_utf8(error))
        except json.JSONDecodeError as error:
            spread = "; JSON over several lines is `format: json`" if raw.strip() in _OPENED else ""
            faults.add(where, f"not JSON ({error.msg} at column {error.colno}), expected one object{spread}")
        except (ValueError, RecursionError) as error:
            faults.add(where, f"not JSON that can be read ({error}), expected one object")
        else:
            if isinstance(columns, dict):
                yield Row(columns, where)
            else:
                faults.add(where, f"found {type(columns).__name__}, expected an object with named columns")
