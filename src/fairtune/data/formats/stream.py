"""A file as bytes, packed or not, and its lines: one at a time, none longer than memory allows."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from fairtune.data.rows import Faults
from fairtune.errors import DataError

# Longer than any example that a model could read; a line of a broken file can be as long as the file.
MAX_LINE = 16 * 2**20
_PACKED = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, RuntimeError, NotImplementedError)
BOM = b"\xef\xbb\xbf"
_OTHER_BOMS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
_OPENERS: dict[str, Callable[[Path], Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
PACKED = (*_OPENERS, ".zip")


@dataclass(frozen=True)
class File:
    """``name`` is what messages call it; ``suffix`` is of what is inside, in lower case: ``.csv`` of ``a.csv.gz``."""

    name: str
    suffix: str
    opener: Callable[[], AbstractContextManager[IO[bytes]]]

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """Its bytes, unpacked.

        Raises:
            DataError: it cannot be read or unpacked.
        """
        try:
            with self.opener() as stream:
                yield stream
        except _PACKED as error:
            raise DataError(f"{self.name}: cannot be read: {getattr(error, 'strerror', None) or error}") from None

    def head(self, size: int = 2**16) -> bytes:
        """Its first bytes, without a byte order mark.

        Raises:
            DataError: it cannot be read, or is not UTF-8 by its own mark.
        """
        with self.open() as stream:
            first = stream.read(size)
        for mark, encoding in _OTHER_BOMS.items():
            if first.startswith(mark):
                raise DataError(f"{self.name}: is {encoding}, expected UTF-8; convert it, for example with iconv")
        return first.removeprefix(BOM)

    def head_lines(self, size: int = 2**16) -> list[str]:
        """The lines of its first bytes as text, without their ends; of a longer file not the last, which is cut.

        Raises:
            DataError: as of :meth:`head`.
        """
        raw = self.head(size)
        found = (raw.replace(b"\r", b"\n") if _is_old_mac(raw) else raw).decode("utf-8", errors="replace").split("\n")
        return [line.removesuffix("\r") for line in (found[:-1] if len(raw) > size - 4 and len(found) > 1 else found)]

    @contextmanager
    def open_text(self) -> Iterator[IO[bytes]]:
        """Its bytes, unpacked, with lines that end as others' do where they end in a carriage return alone.

        Raises:
            DataError: it cannot be read or unpacked.
        """
        is_old_mac = _is_old_mac(self.head())
        with self.open() as stream:
            yield io.BufferedReader(_NewLines(stream)) if is_old_mac else stream


def _is_old_mac(head: bytes) -> bool:
    """Ends of lines as in Excel for the Macintosh of before 2001, and in a format it still offers."""
    return b"\r" in head and b"\n" not in head


class _NewLines(io.RawIOBase):
    """A new line for every carriage return."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        raw = self._stream.read(len(buffer)).replace(b"\r", b"\n")
        buffer[: len(raw)] = raw
        return len(raw)


def files_in(path: Path) -> list[File]:
    """The file itself, or what an archive holds. Names that begin with a dot or underscore are not data.

    Raises:
        DataError: an archive that cannot be opened.
    """
    suffix = path.suffix.lower()
    if suffix == ".zip":
        return _members(path)
    opener = _OPENERS.get(suffix)
    if opener is None:
        return [File(path.name, suffix, lambda: path.open("rb"))]
    return [File(path.name, Path(path.stem).suffix.lower(), lambda: opener(path))]


def hidden(name: str) -> bool:
    """Whether a file in a folder or archive is not meant as data."""
    return any(part.startswith((".", "_")) for part in Path(name).parts)


def _members(path: Path) -> list[File]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = sorted(info.filename for info in archive.infolist() if not info.is_dir())
    except _PACKED as error:
        raise DataError(f"{path}: cannot be unpacked: {error}") from None
    return [_member(path, name) for name in names if not hidden(name)]


def _member(path: Path, name: str) -> File:
    @contextmanager
    def opened() -> Iterator[IO[bytes]]:
        with zipfile.ZipFile(path) as archive, archive.open(name) as stream:
            yield stream

    return File(f"{path.name}/{name}", Path(name).suffix.lower(), opened)


def lines(file: File, faults: Faults, limit: int = MAX_LINE) -> Iterator[tuple[int, bytes]]:
    """Numbered lines with their ends. One that is longer than ``limit`` bytes is a fault, and is left out."""
    with file.open_text() as stream:
        number = 0
        while raw := stream.readline(limit + 1):
            number += 1
            if number == 1:
                raw = raw.removeprefix(BOM)
            if len(raw) <= limit:
                yield number, raw
                continue
            size = len(raw) + _rest_of_line(stream, raw, limit)
            faults.add(f"{file.name}, line {number}", f"found a line of {size:,} bytes, expected at most {limit:,}")


def _rest_of_line(stream: IO[bytes], raw: bytes, limit: int) -> int:
    size = 0
    while not raw.endswith(b"\n") and (raw := stream.readline(limit)):
        size += len(raw)
    return size


def not_utf8(error: UnicodeDecodeError) -> str:
    """What was found and what was expected."""
    found = error.object[error.start]
    return (
        f"is not UTF-8 (byte 0x{found:02x} at place {error.start + 1} of the line); convert it, for example with iconv"
    )
