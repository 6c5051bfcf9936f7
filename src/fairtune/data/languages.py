"""Words that name a language: how files of translations name their columns."""

from __future__ import annotations

import functools


@functools.cache
def language_names() -> frozenset[str]:
    """In English, in small letters: spanish."""
    from babel import Locale

    return frozenset(str(name).casefold() for name in Locale("en").languages.values())


@functools.cache
def language_codes() -> frozenset[str]:
    """Of two letters and of three: es, spa."""
    from babel import Locale
    from babel.core import get_global

    return frozenset(str(code).casefold() for code in {**Locale("en").languages, **get_global("language_aliases")})
