"""How runs, scores, differences and p-values are written, in every form of a report."""

from __future__ import annotations

from collections.abc import Sequence

from fairtune.study import RunSpec

JOINT = " · "
"""Between the parts of a name."""
DASH = "–"
"""For a number that there is none of."""
_SMALL_P = 0.001


def method_parts(spec: RunSpec, specs: Sequence[RunSpec]) -> tuple[str, ...]:
    """The method; and its augmentation and its model where those vary among ``specs``."""
    augments = {other.augment and other.augment.label for other in specs if other.method.trains}
    parts = [spec.method.label, *([spec.augment.label] if spec.augment and len(augments) > 1 else [])]
    if len({other.model.name for other in specs}) > 1:
        parts.append(spec.model.name)
    return tuple(parts)


def method_name(spec: RunSpec, specs: Sequence[RunSpec]) -> str:
    """All that tells it from the others but its seed."""
    precision = (spec.precision,) if len({other.precision for other in specs}) > 1 else ()
    return JOINT.join((*method_parts(spec, specs), *precision))


def run_name(spec: RunSpec, specs: Sequence[RunSpec]) -> str:
    """The method, and the seed where there are several."""
    several = spec.method.trains and len({other.seed for other in specs if other.method.trains}) > 1
    return method_name(spec, specs) + (f"{JOINT}seed {spec.seed}" if several else "")


def format_score(value: float | None) -> str:
    """Three or four digits that matter."""
    if value is None:
        return DASH
    size = abs(value)
    text = f"{size:.3g}" if size >= 1000 else f"{size:.{3 if size < 1 else 2 if size < 10 else 1}f}"
    return f"−{text}" if value < 0 else text


def signed(value: float) -> str:
    """``+1.25``, ``−0.310`` or ``0``."""
    if value == 0:
        return "0"
    return f"+{format_score(value)}" if value > 0 else format_score(value)


def ends_of(low: float | None, high: float | None) -> str:
    """``[8.10, 9.42]``; ``[?]`` where there is none."""
    return "[?]" if low is None or high is None else f"[{format_score(low)}, {format_score(high)}]"


def signed_ends_of(low: float | None, high: float | None) -> str:
    """``[−0.310, +1.25]``; ``[?]`` where there is none."""
    return "[?]" if low is None or high is None else f"[{signed(low)}, {signed(high)}]"


def p_value(p: float | None) -> str:
    """Three digits after the point, and no zero that is none."""
    if p is None:
        return DASH
    return f"< {_SMALL_P}" if p < _SMALL_P else f"{p:.3f}"


def two_digits(number: int) -> int:
    """Of a number of which no more are known: 440 for 435."""
    return round(number, min(0, 2 - len(str(number))))


def listed(names: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
