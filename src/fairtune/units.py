"""Bytes and seconds, read from people and written for people."""

from __future__ import annotations

import re
from collections.abc import Mapping

_BYTES = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}
_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_QUANTITY = re.compile(r"\s*([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*([a-zA-Z]*)\s*")


def parse_bytes(text: str | int | float) -> int:
    """Bytes from ``"20GiB"`` (2**30), ``"20 GB"`` (10**9) or a plain number.

    Raises:
        ValueError: not a positive number followed by one of B, kB … TB, KiB … TiB.
    """
    return round(_parse(text, _BYTES, "20GiB, 512MiB, 8GB"))


def parse_seconds(text: str | int | float) -> float:
    """Seconds from ``"1h"``, ``"30min"``, ``"90s"`` or a plain number.

    Raises:
        ValueError: not a positive number followed by one of s, m, min, h, d.
    """
    return _parse(text, _SECONDS, "90s, 30min, 2h")


def _parse(text: str | int | float, units: Mapping[str, float], examples: str) -> float:
    match = _QUANTITY.fullmatch(str(text))
    size = units.get(match.group(2).lower()) if match and not isinstance(text, bool) else None
    if match is None or size is None or float(match.group(1)) <= 0:
        raise ValueError(f"{text!r} is not an amount; write for example {examples}")
    return float(match.group(1)) * size


def format_bytes(count: int | None) -> str:
    """``"1.50 GiB"``; a dash for a missing number."""
    if count is None:
        return "–"
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{count / size:.2f} {unit}" if unit == "GiB" else f"{count / size:.0f} {unit}"
    return f"{count} B"


def format_seconds(seconds: float | None) -> str:
    """``"1h 02m"``, ``"2m 05s"`` or ``"4.2s"``; a dash for a missing number."""
    if seconds is None:
        return "–"
    if seconds < 59.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m"


def format_count(count: int | None) -> str:
    """``"134.5M"``, ``"4.9M"``, ``"12.0k"``; a dash for a missing number."""
    if count is None:
        return "–"
    for unit, size in (("B", 10**9), ("M", 10**6), ("k", 10**3)):
        if count >= size:
            return f"{count / size:.1f}{unit}"
    return str(count)
