"""Synonyms of words: from a WordNet on this machine, or from a user's own file."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TypeGuard

from fairtune.data.augment import wordnet
from fairtune.errors import Problem, SpecError

Synonyms = Mapping[str, Sequence[str]]
"""By word in lower case; sorted, the word itself not among them."""

_OPTION = "augment.eda.synonyms"
_HOW = (
    "Ways to get one: Debian and Ubuntu have the package wordnet-base; `pip install nltk`, then `python -m "
    "nltk.downloader wordnet`; or write a file of your own, `word<TAB>synonym, synonym` a line "
    "(synonyms: ./words.tsv); or use operations that need none (operations: [random_swap, random_deletion])"
)


def read_synonyms(place: str, root: Path, wanted: Collection[str]) -> Synonyms:
    """Synonyms of the wanted words, as far as the place has them.

    Raises:
        SpecError: the place is not there, or not to be read.
    """
    found = _located(place, root)
    table = _own_file(found, wanted) if _is_own(found) else wordnet.read(found, wanted)
    return {word: sorted(others - {word}) for word, others in table.items() if others - {word}}


def synonyms_fingerprint(place: str, root: Path) -> str:
    """Hash of the files' content.

    Raises:
        SpecError: the place is not there, or not to be read.
    """
    found = _located(place, root)
    if _is_own(found):
        _own_file(found, ())
        return hashlib.sha256(found.read_bytes()).hexdigest()[:16]
    return wordnet.fingerprint(found)


def _is_own(place: wordnet.Folder) -> TypeGuard[Path]:
    return isinstance(place, Path) and place.is_file()


def _located(place: str, root: Path) -> wordnet.Folder:
    if place == wordnet.NAME:
        there = wordnet.find()
        if there is None:
            looked = ", ".join(map(str, wordnet.usual_places()))
            raise SpecError([Problem(_OPTION, f"there is no WordNet on this machine (looked in {looked}). {_HOW}")])
        return there
    path = (root / Path(place).expanduser()).resolve()
    if path.is_file() or wordnet.is_there(path):
        return path
    told = "a folder without the files data.noun, data.verb, data.adj, data.adv" if path.is_dir() else "no such file"
    raise SpecError([Problem(_OPTION, f"'{place}': {told} ({path}). {_HOW}")])


def _own_file(path: Path, wanted: Collection[str]) -> dict[str, set[str]]:
    """``word<TAB>synonym, synonym`` a line. Empty lines and lines from ``#`` on are left out."""
    table: dict[str, set[str]] = {}
    for number, line in enumerate(_text_of(path).split("\n"), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        word, tab, rest = line.partition("\t")
        others = {other.strip() for other in rest.split(",") if other.strip()}
        if not (word.strip() and tab and others):
            told = f"{path}, line {number}: found {line[:60]!r}; `word<TAB>synonym, synonym` is needed"
            raise SpecError([Problem(_OPTION, told)])
        if word.strip().lower() in wanted:
            table.setdefault(word.strip().lower(), set()).update(others)
    return table


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpecError([Problem(_OPTION, f"{path}: is not UTF-8 text (byte {error.start})")]) from None
    except OSError as error:
        raise SpecError([Problem(_OPTION, f"{path}: cannot be read: {error.strerror}")]) from None
