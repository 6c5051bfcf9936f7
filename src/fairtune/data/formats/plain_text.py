"""Plain text: a file is one document."""

from __future__ import annotations

from collections.abc import Iterator

from fairtune.data.formats.layout import ANY, Layout
from fairtune.data.formats.stream import BOM, File, not_utf8
from fairtune.data.rows import Faults, Row

# Bytes. A novel is a tenth of this. A longer file is several documents, each as long as many contexts and ended with a
# line, so that a few of them can be held out, and only one has to be in memory.
WHOLE = 4 * 2**20
PIECE = 2**18


def rows(file: File, faults: Faults, layout: Layout = ANY) -> Iterator[Row]:
    """Rows ``{text}``, white space kept as it is; nothing but white space is no row."""
    for place, (line, raw) in enumerate(_pieces(file)):
        where = file.name if place == 0 else f"{file.name}, line {line}"
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            before = raw[: error.start]
            shorter = UnicodeDecodeError(
                "utf-8", raw[before.rfind(b"\n") + 1 :], len(before) - before.rfind(b"\n") - 1, 0, ""
            )
            faults.add(f"{file.name}, line {line + before.count(10)}", not_utf8(shorter))
        else:
            if text.strip():
                yield Row({"text": text}, where)


def _pieces(file: File) -> Iterator[tuple[int, bytes]]:
    """The number of its first line, and its bytes."""
    line = 1
    with file.open_text() as stream:
        held = stream.read(WHOLE + 1).removeprefix(BOM)
        is_whole = len(held) <= WHOLE
        while held:
            end = len(held) if is_whole else _end(held)
            yield line, held[:end]
            line += held.count(b"\n", 0, end)
            held = held[end:]
            if len(held) <= WHOLE:
                held += stream.read(WHOLE)


def _end(held: bytes) -> int:
    """Where a piece ends: with a line; without one, between two characters."""
    end = held.find(b"\n", PIECE) + 1
    if not end and len(held) > WHOLE:
        end = next(place for place in range(WHOLE, 0, -1) if held[place] & 0xC0 != 0x80)
    return end or len(held)
