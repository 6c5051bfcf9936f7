"""What every source gives: rows, each knowing where it came from; and how files of text are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fairtune.errors import DataError


@dataclass(frozen=True)
class Row:
    """Columns by name; ``where`` is for error messages, as in ``train.jsonl, line 7``."""

    columns: Mapping[str, Any]
    where: str


def text_of(path: Path) -> str:
    """A file of UTF-8, without its byte order mark.

    Raises:
        DataError: no such file, not UTF-8, or not readable.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; paths start from the folder of the study or task file") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 (byte {error.start}); convert it, for example with iconv") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
