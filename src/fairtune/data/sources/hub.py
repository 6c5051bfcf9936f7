"""Data sets by hub id: ``hub:owner/name``, and where there are several ``/CONFIG``, ``@REVISION``, ``#SPLIT``.

``hub:openai/gsm8k/main@e53f048#test`` is the split test of the configuration main at one commit. A bare ``owner/name``
is a hub id too, where no file has that name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fairtune.data.formats import Layout
from fairtune.data.rows import Faults, Row
from fairtune.errors import DataError

PREFIX = "hub:"
_ID = re.compile(
    r"(?P<name>[\w.-]+/[\w.-]+)(?:/(?P<config>[\w.-]+))?(?:@(?P<revision>[\w./-]+?))?(?:#(?P<split>[\w.\[\]:%+-]+))?"
)
_SUFFIX = re.compile(r"\.(jsonl?|ndjson|[ct]sv|parquet|pq|txt|gz|bz2|xz|zip|ya?ml)$", re.IGNORECASE)
# Below this a data set is downloaded once and kept; above it, rows come over the network as they are read.
_STREAMED_BYTES = 2 * 2**30


@dataclass(frozen=True)
class _Named:
    name: str
    config: str | None
    revision: str | None
    split: str


def claims(place: str, root: Path) -> bool:
    """Whether ``place`` begins with ``hub:``, or is written like a hub id and no file."""
    if place.startswith(PREFIX):
        return True
    return bool(_ID.fullmatch(place)) and not _SUFFIX.search(place) and not (root / place).exists()


def read(place: str, root: Path, faults: Faults, layout: Layout) -> Iterator[Row]:
    """Rows of one split, ``train`` unless another is named.

    Raises:
        DataError: not understood, or the hub does not give it.
    """
    named = _parse(place)
    for number, columns in enumerate(_rows(place, named), start=1):
        yield Row(columns, f"{named.name}, {named.split} row {number}")


def _parse(place: str) -> _Named:
    found = _ID.fullmatch(place.removeprefix(PREFIX))
    if found is None:
        raise DataError(f"'{place}': not understood; write hub:OWNER/NAME, or hub:OWNER/NAME/CONFIG@REVISION#SPLIT")
    return _Named(found["name"], found["config"], found["revision"], found["split"] or "train")


def _rows(place: str, named: _Named) -> Iterator[dict[str, Any]]:
    """The split, on disk, or as a stream where it is large."""
    import datasets

    keys = {"name": named.config, "revision": named.revision}
    try:
        info = datasets.load_dataset_builder(named.name, **keys).info
        large = max(info.dataset_size or 0, info.download_size or 0) > _STREAMED_BYTES
        yield from datasets.load_dataset(named.name, split=named.split, streaming=large, **keys)
    except Exception as error:  # the library raises its own, the network's and the hub's errors, of many kinds
        raise DataError(
            f"'{place}': no such file or folder, and as a data set it cannot be had: {type(error).__name__}: {error}. "
            "Check its name, configuration and split, and the network; or download it, and give the folder"
        ) from error
