"""Files and folders: ``train.jsonl``, ``data/*.csv``, ``texts/``, ``pairs.zip``, each packed or not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fairtune.data.formats import FORMATS, File, format_of
from fairtune.data.formats.stream import PACKED, files_in, hidden
from fairtune.data.rows import Faults, Row
from fairtune.errors import DataError

_SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".pq", ".txt", *PACKED)


def claims(place: str, root: Path) -> bool:
    """Whether ``place`` is a file, a folder or a pattern of files, or is written like one."""
    return bool(_paths(place, root)) or place.lower().endswith(_SUFFIXES)


def read(place: str, root: Path, faults: Faults, format_name: str | None) -> Iterator[Row]:
    """Rows of every file, in the order of their names.

    Raises:
        DataError: nothing is there, or files of several formats are.
    """
    found = _files(place, root)
    named = {file.name: format_name or format_of(file) for file in found if not _is_empty(file)}
    if len(set(named.values())) > 1:
        one_each = "; ".join(f"{kind}: {name}" for kind, name in {kind: name for name, kind in named.items()}.items())
        raise DataError(
            f"'{place}' holds files of several formats ({one_each}); give one kind, as with a pattern: folder/*.csv"
        )
    for file in found:
        if file.name in named:
            yield from FORMATS[named[file.name]](file, faults)
        elif len(found) > 1:
            faults.add(file.name, "is empty; rows are expected")


def _is_empty(file: File) -> bool:
    return not file.head().strip()


def _files(place: str, root: Path) -> list[File]:
    paths = _paths(place, root)
    if not paths:
        raise DataError(f"{root / place}: no such file; paths start from the folder of the study or task file")
    found = [file for path in paths for file in files_in(path)]
    if not found:
        raise DataError(f"{root / place}: holds no files (names that begin with a dot or underscore are not data)")
    return found


def _paths(place: str, root: Path) -> list[Path]:
    path = root / Path(place).expanduser()
    try:
        if path.is_file():
            return [path]
        if path.is_dir():
            inside = (file for file in path.rglob("*") if file.is_file())
            return sorted(file for file in inside if not hidden(str(file.relative_to(path))))
        if any(mark in place for mark in "*?["):
            pattern = str(Path(place).expanduser())
            base = Path(Path(pattern).anchor) if Path(pattern).is_absolute() else root
            relative = pattern[len(base.anchor) :] if Path(pattern).is_absolute() else pattern
            return sorted(file for file in base.glob(relative) if file.is_file() and not hidden(file.name))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    return []
