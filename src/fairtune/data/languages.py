"""Words that name a language: how files of translations name their columns."""

from __future__ import annotations

import functools


def is_language(word: str) -> bool:
    """Whether a word is a language's English name, such as Spanish, or its code, such as es."""
    # A column called id holds names of rows far more often than Indonesian.
    return word.strip().casefold() in _names() - {"id"}


@functools.cache
def _names() -> frozenset[str]:
    from babel import Locale

    languages = Locale("en").languages
    return frozenset(str(word).casefold() for word in (*languages, *languages.values()))
