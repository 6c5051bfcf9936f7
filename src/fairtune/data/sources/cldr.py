"""``cldr:en-es``: names and dates in two languages, out of Unicode's Common Locale Data Repository.

Territories, currencies, languages and full dates, as shipped inside Babel: real translations that need no
network. What a locale holds depends on Babel's CLDR release, and is part of the data's fingerprint.
"""

from __future__ import annotations

import datetime
import random
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from fairtune.data.examples import folded
from fairtune.data.formats import Layout
from fairtune.data.rows import Faults, Row
from fairtune.errors import DataError

if TYPE_CHECKING:
    from babel import Locale

PREFIX = "cldr:"
_TABLES = ("territories", "currencies", "languages")
_DATES = 300
_FIRST_DAY = datetime.date(1950, 1, 1)
_DAYS = 36_524  # a century


def claims(place: str, root: Path) -> bool:
    """Whether ``place`` is ``cldr:SOURCE-TARGET``."""
    return place.startswith(PREFIX)


def read(place: str, root: Path, faults: Faults, layout: Layout) -> Iterator[Row]:
    """Rows ``{prompt, completion, kind}``, sorted by prompt; no prompt twice, not even in another case.

    Raises:
        DataError: not two locales that Babel knows.
    """
    source, target = _locales(place)
    rows: dict[str, Row] = {}
    for kind, prompt, completion in [*_names(source, target), *_dates(source, target)]:
        row = Row({"prompt": prompt, "completion": completion, "kind": kind}, f"{place}, {kind}")
        rows.setdefault(folded(prompt), row)
    for key in sorted(rows):
        yield rows[key]


def _locales(text: str) -> tuple[Locale, Locale]:
    from babel import Locale, UnknownLocaleError

    names = text.removeprefix(PREFIX).split("-")
    try:
        if len(names) != 2:
            raise ValueError("two locales are needed")
        return Locale.parse(names[0]), Locale.parse(names[1])
    except (ValueError, UnknownLocaleError) as error:
        raise DataError(f"{text}: {error}; write for example cldr:en-es, with locales such as en, es, pt_BR") from None


def _names(source: Locale, target: Locale) -> Iterator[tuple[str, str, str]]:
    for table in _TABLES:
        ours, theirs = getattr(source, table), getattr(target, table)
        for code in sorted(ours):
            if code in theirs:
                yield table, ours[code], theirs[code]


def _dates(source: Locale, target: Locale) -> Iterator[tuple[str, str, str]]:
    from babel.dates import format_date

    days = random.Random(0).sample(range(_DAYS), _DATES)  # noqa: S311 - a fixed sample, not a secret
    for day in days:
        date = _FIRST_DAY + datetime.timedelta(days=day)
        yield "dates", format_date(date, "full", locale=source), format_date(date, "full", locale=target)
