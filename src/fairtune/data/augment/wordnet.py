"""WordNet's own database files, as wndb(5WN) describes them: a line of ``data.noun`` is a set of synonyms."""

from __future__ import annotations

import hashlib
import os
import re
import sys
import zipfile
from collections.abc import Collection, Iterator
from pathlib import Path

NAME = "wordnet"
"""What a study writes for the one that is found on the machine."""

Folder = Path | zipfile.Path
"""Where the files are. NLTK's downloader leaves them packed."""

_FILES = ("data.noun", "data.verb", "data.adj", "data.adv")
# Adjectives may carry where they stand: "galore(ip)" comes immediately after its noun.
_MARKER = re.compile(r"\((?:p|a|ip)\)$")


def usual_places() -> list[Path]:
    """Where WordNet lies: ``$WNHOME/dict``, Debian's folder, NLTK's folders."""
    home = [Path(os.environ["WNHOME"]) / "dict"] if os.environ.get("WNHOME") else []
    told = [Path(folder) for folder in os.environ.get("NLTK_DATA", "").split(os.pathsep) if folder]
    usual = [Path.home(), Path(sys.prefix), *map(Path, ("/usr/share", "/usr/local/share", "/usr/lib"))]
    nltk = [*told, *(folder / "nltk_data" for folder in usual)]
    return [*home, Path("/usr/share/wordnet"), *(folder / "corpora" / "wordnet" for folder in nltk)]


def find() -> Folder | None:
    """The first of the usual places that has it."""
    for place in usual_places():
        if is_there(place):
            return place
        packed = place.with_suffix(".zip")
        if packed.is_file() and zipfile.is_zipfile(packed):
            inside = zipfile.Path(packed, "wordnet/")
            if is_there(inside):
                return inside
    return None


def is_there(folder: Folder) -> bool:
    """Whether the four files are."""
    return all((folder / name).is_file() for name in _FILES)


def fingerprint(folder: Folder) -> str:
    """Hash of the files' content."""
    running = hashlib.sha256()
    for name in _FILES:
        running.update((folder / name).read_bytes())
    return running.hexdigest()[:16]


def read(folder: Folder, wanted: Collection[str]) -> dict[str, set[str]]:
    """For each wanted word in lower case, all words that share a meaning with it, itself among them.

    Only those are kept: all of WordNet 3.0 has 117,659 sets. Words are sought as they stand, inflected ones are not.
    """
    table: dict[str, set[str]] = {}
    for words in _synsets(folder):
        for word in {word.lower() for word in words}.intersection(wanted):
            table.setdefault(word, set()).update(words)
            table[word] -= {other for other in words if other.lower() == word}
    return table


def _synsets(folder: Folder) -> Iterator[list[str]]:
    """The words of each line: ``offset file_number type count word id [word id …] …``; the count is hexadecimal."""
    for name in _FILES:
        for line in (folder / name).read_bytes().decode("utf-8").split("\n"):
            if not line[:1].isdigit():  # the licence, whose lines begin with two spaces, or the end
                continue
            _, _, _, count, rest = line.split(" ", 4)
            words = rest.split(" ", 2 * int(count, 16))[: 2 * int(count, 16) : 2]
            yield [_MARKER.sub("", word).replace("_", " ") for word in words]
