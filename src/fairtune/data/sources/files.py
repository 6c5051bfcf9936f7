"""Files and folders: ``train.jsonl``, ``data/*.csv``, ``texts/``, ``pairs.zip``, each packed or not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fairtune.data.formats import FORMATS, SUFFIXES, File, Layout, format_of
from fairtune.data.formats.delimited import has_header
from fairtune.data.formats.stream import PACKED, files_in, hidden
from fairtune.data.rows import Faults, Row
from fairtune.errors import DataError

_WRITTEN = (*SUFFIXES, *PACKED)
_TABLES = ("csv", "tsv")
# Texts about data, as they are packed beside it; only where the rest is of another format are they not data.
_NOTICES = frozenset(
    {"readme", "license", "licence", "copying", "copyright", "notice", "source", "sources", "citation", "changelog"}
    | {"authors", "about", "changes", "references", "terms"}
)


def claims(place: str, root: Path) -> bool:
    """Whether ``place`` is a file, a folder or a pattern of files, or is written like one."""
    path = root / Path(place).expanduser()
    return bool(_paths(place, root)) or path.is_dir() or place.lower().endswith(_WRITTEN)


def read(place: str, root: Path, faults: Faults, layout: Layout) -> Iterator[Row]:
    """Rows of every file, in the order of their names.

    Raises:
        DataError: nothing is there, or files of several formats are.
    """
    found = _meant(_files(place, root), layout.format)
    named = _formats(place, found, layout.format)
    for file in found:
        if file.name in named:
            yield from FORMATS[named[file.name]](file, faults, layout)
        elif len(found) > 1 and _is_empty(file):
            faults.add(file.name, "is empty; rows are expected")


def without_header(place: str, root: Path, layout: Layout) -> tuple[str, ...]:
    """Names of the tables in a place whose first line is read as a row.

    Raises:
        DataError: as of :func:`read`.
    """
    found = _meant(_files(place, root), layout.format)
    named = _formats(place, found, layout.format)
    tables = [file for file in found if named.get(file.name) in _TABLES]
    return tuple(file.name for file in tables if not has_header(file, named[file.name], layout))


def _meant(found: list[File], wanted: str | None) -> list[File]:
    """Files of the suffixes of the format that the task names; else of any format; else all."""
    of_format = [file for file in found if wanted is not None and SUFFIXES.get(file.suffix) == wanted]
    return of_format or [file for file in found if file.suffix in SUFFIXES] or found


def _formats(place: str, found: list[File], wanted: str | None) -> dict[str, str]:
    """The format of every file that is not empty, all the same; notices beside data of another format have none."""
    named = {file.name: wanted or format_of(file) for file in found if not _is_empty(file)}
    if len(set(named.values())) > 1:
        named = {name: kind for name, kind in named.items() if not (kind == "text" and _is_notice(name))}
    if len(set(named.values())) > 1:
        one_each = "; ".join(f"{kind}: {name}" for kind, name in {kind: name for name, kind in named.items()}.items())
        kind = next(kind for kind in named.values() if kind != "text")
        raise DataError(
            f"'{place}' holds files of several formats ({one_each}); give one kind: with `format: {kind}` in the task "
            f"only {_suffixes(kind)} files are read, also of an archive; or with a pattern, folder/*.{kind}"
        )
    return named


def _is_notice(name: str) -> bool:
    return Path(name).name.split(".")[0].casefold() in _NOTICES


def _suffixes(kind: str) -> str:
    return " and ".join(suffix for suffix, format_name in SUFFIXES.items() if format_name == kind)


def _is_empty(file: File) -> bool:
    return not file.head().strip()


def _files(place: str, root: Path) -> list[File]:
    paths = _paths(place, root)
    path = root / Path(place).expanduser()
    if not paths and not path.is_dir():
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
