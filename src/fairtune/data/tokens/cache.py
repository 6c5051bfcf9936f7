"""Tables of tokens in a folder, each made once."""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from fairtune.data.examples import Example
from fairtune.data.tokens.stream import lines_of
from fairtune.data.tokens.table import TokenTable, write_table
from fairtune.errors import BudgetError


def stored_table(path: Path) -> TokenTable | None:
    """The table of a file, mapped; None where there is none, or what is there is damaged and to be made anew."""
    try:
        return TokenTable.read(path)
    except (pa.ArrowException, OSError):
        return None


def store_table(path: Path, examples: Iterable[Example], tokenizer: Any) -> TokenTable:
    """Tokenises the examples into a file, which appears whole or not at all, and maps it.

    Raises:
        DataError: the chat template cannot be applied.
        BudgetError: the file cannot be written.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _what_is_there_left_alone():
            write_table(unfinished, lines_of(examples, tokenizer))
        unfinished.replace(path)
    except OSError as error:
        raise BudgetError(f"{path}: cannot be written: {error.strerror}; set FAIRTUNE_CACHE to another disk") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return TokenTable.read(path)


@contextlib.contextmanager
def _what_is_there_left_alone() -> Iterator[None]:
    """Python looks for cycles among what is made meanwhile, not among the examples and all objects of torch.

    A tenth of the time would go there. In the process of a run the libraries are set aside already, for good; what was
    added to them now could not be told apart afterwards.
    """
    if gc.get_freeze_count():
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
