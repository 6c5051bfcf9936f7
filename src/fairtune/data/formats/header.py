"""Whether the first record of a table names its columns, and what they are called where it does not."""

from __future__ import annotations

import re
from collections import Counter

from fairtune.data.formats.layout import Layout
from fairtune.data.languages import language_codes, language_names
from fairtune.errors import DataError

# What the columns of a table with two columns and no names of its own are called.
PAIR = ("source", "target")
# Letters, digits, underscores and hyphens, three words at most: "user_prompt", "English text"; not "Go.", "12".
_NAME = re.compile(r"[\w-]+(?: [\w-]+){0,2}")
_LONGEST_NAME, _LONGEST_TITLE = 30, 60
_NUMBER = re.compile(r"[+-]?[\d.,]*\d[\d.,]*%?")


def names_of(cells: list[str], layout: Layout, usual: bool, where: str) -> tuple[tuple[str, ...], bool]:
    """The columns' names, and whether the first record, ``cells``, tells them.

    ``usual``: whether files of this kind mostly have a header, so that short names are taken for one. Two words of two
    languages look the same, and in other files they are a row.

    Raises:
        DataError: two columns of one name.
    """
    if not _is_header([cell.strip() for cell in cells], layout, usual):
        return (PAIR if len(cells) == len(PAIR) else _numbered([""] * len(cells))), False
    names = _numbered(cells)
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(
            f"{where}: the first line names '{twice[0]}' twice; columns need names of their own. If it is a row "
            "and no header, say `header: false` in the task"
        )
    return names, True


def _numbered(cells: list[str]) -> tuple[str, ...]:
    return tuple(cell.strip() or f"column {place}" for place, cell in enumerate(cells, start=1))


def _is_header(cells: list[str], layout: Layout, usual: bool) -> bool:
    if layout.header is not None:
        return layout.header
    if layout.columns & set(cells):
        return True
    if len(cells) > len(PAIR):
        # Nobody's shape, unless the task names columns; so a wrong guess is told, whichever it is.
        return not any(_is_value(cell) for cell in cells)
    if not all(map(_is_name, cells)) or len({cell.casefold() for cell in cells}) < len(cells):
        return False
    return usual or len(cells) == 1 or _is_known({cell.casefold() for cell in cells})


def _is_name(cell: str) -> bool:
    return len(cell) <= _LONGEST_NAME and bool(_NAME.fullmatch(cell)) and any(map(str.isalpha, cell))


def _is_value(cell: str) -> bool:
    """A number, a sentence, or longer than anyone's name for a column."""
    return len(cell) > _LONGEST_TITLE or cell.endswith((".", "!")) or bool(_NUMBER.fullmatch(cell))


def _is_known(words: set[str]) -> bool:
    """Words that name columns, one of them beyond doubt; or two languages, or the codes of two."""
    return (
        bool(words & _WORDS)
        or any("_" in word for word in words)
        or words <= language_names()
        or words <= language_codes()
    )


# Of columns in common use. "Go." beside "Ve." is a row; "question" beside "answer" names two columns.
_WORDS = frozenset(
    {"prompt", "completion", "question", "answer", "query", "response", "instruction", "input", "output", "source"}
    | {"target", "text", "sentence", "label", "labels", "class", "category", "title", "content", "document", "summary"}
    | {"review", "sentiment", "tweet", "message", "intent", "src", "tgt"}
)
