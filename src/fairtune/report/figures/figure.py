"""What a figure is, and how it becomes SVG or PNG."""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from fairtune.errors import SpecError
from fairtune.records import write_atomically
from fairtune.report.figures.palette import LIGHT, STAND_INS, VARIABLES, Palette

KINDS = ("svg", "png")
_PIXELS = 2.0
"""Of a PNG, to one of the figure's natural size."""
_UNDATED = {"Date": None}


@dataclass(frozen=True)
class Figure:
    """A picture and the words for it."""

    name: str
    """Of its files, and before every id in its SVG."""
    title: str
    caption: str
    """How to read it, and which runs are not in it."""
    alt: str
    """The main fact, for those who do not see the picture."""
    draw: Callable[[Palette], Any]
    """Makes a ``matplotlib.figure.Figure`` of 72 dots an inch, so that a point is a pixel."""


def svg(figure: Figure, themed: bool = True) -> str:
    """One ``<svg>`` element, to stand in a page or alone.

    Args:
        themed: colours are CSS variables of the page (``--ink``, ``--muted``, ``--grid``, ``--surface``, ``--series-1``
            to ``--series-8``, ``--better``, ``--worse``, ``--unsure``) instead of fixed ones on white.
    """
    text = io.StringIO()
    with _settings(figure.name):
        figure.draw(STAND_INS if themed else LIGHT).savefig(text, format="svg", metadata=_UNDATED)
    found = _element(text.getvalue(), figure)
    for stand_in, variable in VARIABLES.items() if themed else ():
        found = found.replace(stand_in, variable)
    return found


def png(figure: Figure) -> bytes:
    """The picture on white, two pixels to one of its natural size."""
    data = io.BytesIO()
    with _settings(figure.name):
        figure.draw(LIGHT).savefig(data, format="png", dpi=72 * _PIXELS, metadata={"Software": None})
    return data.getvalue()


def save(figures: Iterable[Figure], folder: Path, kinds: Sequence[str] = KINDS) -> list[Path]:
    """Writes each figure as ``NAME.KIND``, with colours that need no page.

    Raises:
        SpecError: a kind that there is not.
        BudgetError: a file cannot be written.
    """
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise SpecError(f"figures as {unknown[0]}: unknown; there are {' and '.join(KINDS)}")
    written: list[Path] = []
    for figure in figures:
        for kind in kinds:
            data = png(figure) if kind == "png" else svg(figure, themed=False).encode()
            path = folder / f"{figure.name}.{kind}"
            write_atomically(path, data)
            written.append(path)
    return written


@contextlib.contextmanager
def _settings(name: str) -> Iterator[None]:
    """Whatever the user's own matplotlibrc says."""
    import matplotlib

    chosen = {
        "text.parse_math": False,  # a label may hold a dollar
        "text.usetex": False,
        "svg.fonttype": "none",  # text stays text
        "svg.hashsalt": name,  # ids are the same each time
        "svg.image_inline": True,
        "font.family": ["sans-serif"],
        "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib, so a picture is the same everywhere
        "path.simplify": True,
        "path.sketch": None,
        "savefig.bbox": None,
        "savefig.facecolor": "auto",
        "savefig.edgecolor": "auto",
        "axes.unicode_minus": True,
    }
    with matplotlib.rc_context(chosen), warnings.catch_warnings():
        # A sign that the font lacks is a box in the PNG; in the SVG it is the reader's font that counts.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        yield


_FONT = re.compile(r"'DejaVu Sans'[^;\"]*")
_UPRIGHT = re.compile(r' transform="rotate\(-?0 [^"]*\)"')
_ID = re.compile(r'\s+id="([^"]*)"')
_TAG = re.compile(r"<[^>]+>")
_LONG = re.compile(r"(\d\.\d\d)\d+")
"""Digits beyond a hundredth of a pixel, within tags alone: a label's numbers are its own."""
_USED = re.compile(r'(?:url\(#|href="#)([^")]+)')


def _element(text: str, figure: Figure) -> str:
    """Without header, metadata and global style; with ids that no other figure has, and words for a screen reader."""
    text = text[text.index("<svg") :]
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"\s*<defs>\s*<style[^>]*>.*?</style>\s*</defs>", "", text, count=1, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL).replace("xlink:href=", "href=")
    text = _UPRIGHT.sub("", _FONT.sub("sans-serif", text))
    used = set(_USED.findall(text))
    text = _ID.sub(lambda found: f' id="{figure.name}-{found[1]}"' if found[1] in used else "", text)
    text = _USED.sub(lambda found: found[0][: -len(found[1])] + f"{figure.name}-{found[1]}", text)
    text = _TAG.sub(lambda tag: _LONG.sub(r"\1", tag[0]), text)
    text = re.sub(r"\n\s*", "\n", text)
    return _root(text, figure) + text[text.index(">") + 1 :]


def _root(text: str, figure: Figure) -> str:
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', text)
    if box is None:
        raise ValueError(f"figure {figure.name}: matplotlib wrote no viewBox")
    width, height = (f"{float(number):g}" for number in box.groups())
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img" aria-label="{escape(figure.alt, quote=True)}" '
        'style="stroke-linejoin: round; stroke-linecap: butt">'
    )
