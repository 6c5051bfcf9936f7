"""The colours of all figures: concrete ones, and stand-ins that become CSS variables of a page."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Palette:
    """Colours by what they are for, as ``#rrggbb``."""

    ink: str
    muted: str
    grid: str
    surface: str
    series: tuple[str, ...]
    better: str
    worse: str
    unsure: str


# After Okabe and Ito (2008): told apart by colour-blind people. Yellow and black are left out: one is too pale for
# thin lines on white, the other is that of text.
LIGHT = Palette(
    ink="#1c1c1a",
    muted="#5c5b57",
    grid="#e4e3de",
    surface="#ffffff",
    series=("#0072b2", "#d55e00", "#008f68", "#b8578f", "#c98500", "#3f9bd1", "#7a5c3a", "#6a51a3"),
    better="#00795c",
    worse="#c2410c",
    unsure="#75746f",
)

# Nothing else in a drawing has these.
STAND_INS = Palette(
    ink="#01fe01",
    muted="#01fe02",
    grid="#01fe03",
    surface="#01fe04",
    series=tuple(f"#02fe{place:02x}" for place in range(1, 9)),
    better="#01fe05",
    worse="#01fe06",
    unsure="#01fe07",
)

VARIABLES: dict[str, str] = {
    STAND_INS.ink: "var(--ink)",
    STAND_INS.muted: "var(--muted)",
    STAND_INS.grid: "var(--grid)",
    STAND_INS.surface: "var(--surface)",
    **{colour: f"var(--series-{place})" for place, colour in enumerate(STAND_INS.series, start=1)},
    STAND_INS.better: "var(--better)",
    STAND_INS.worse: "var(--worse)",
    STAND_INS.unsure: "var(--unsure)",
}
"""CSS variables, by the stand-in for each."""
