"""Text without what copies differ in: case, white space, punctuation, Unicode form."""

from __future__ import annotations

import re
import unicodedata

# Marks of prose. Signs that calculate or name something stay: `a*b` is not `a/b`, and `C#` is not `C`.
_KEPT = "#%&*/@\\-"
_MARKS = "".join(
    re.escape(chr(point))
    for point in range(0x10000)
    if unicodedata.category(chr(point)).startswith("P") and chr(point) not in _KEPT
)
# A mark between digits is part of a number: 3.5, 10:30, 1,000. A hyphen before a digit may be its sign. (The pattern
# begins with one set of characters, which is what makes it fast.)
_PUNCTUATION = re.compile(
    rf"[{_MARKS}`´\-](?:(?<!-)(?:(?<![0-9].)|(?![0-9]))|(?<=-)(?:(?!\s?[0-9])|(?<=[^\W\d_]-)))", re.DOTALL
)
# Soft hyphens, zero-width characters and marks of direction: nobody sees them.
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060\ufeff]")
# Writing without spaces (Thai, Lao, Burmese, Khmer, Chinese, Japanese): a character is taken for a word.
_UNSPACED = re.compile("([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff])")


def normalised(text: str) -> str:
    """The words of a text, each after one space; a text that is nothing but marks is kept as it is.

    Two texts are the same after normalising if they differ in case, white space, prose punctuation, invisible
    characters and Unicode form (NFKC) alone.
    """
    plain = text.casefold()
    if not plain.isascii():
        plain = _INVISIBLE.sub("", unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()))
        plain = _UNSPACED.sub(r" \1 ", plain)
    words = _PUNCTUATION.sub(" ", plain).split()
    return " ".join(words or plain.split())
