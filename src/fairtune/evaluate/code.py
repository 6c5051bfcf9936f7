"""The program in an answer."""

from __future__ import annotations

import re

# A Markdown block: what its fence says of it, and its text up to the next fence, or to where the answer was cut.
_BLOCK = re.compile(r"^[ \t]*```([^\n`]*)\n(.*?)(?:^[ \t]*```[ \t\r]*$|\Z)", re.MULTILINE | re.DOTALL)
_PYTHON = {"", "python", "python3", "py"}


def code_of(answer: str) -> str:
    """The last Markdown block that is Python's or says no language; the whole answer where there is none.

    The last, since a first attempt is often put right below. A block that is not closed reaches to the end.
    """
    blocks = [text for language, text in _BLOCK.findall(answer) if language.strip().lower() in _PYTHON]
    return str(blocks[-1]) if blocks else answer
