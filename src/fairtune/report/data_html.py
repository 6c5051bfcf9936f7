"""What a model reads, as one HTML page that needs nothing else: no network, no script."""

from __future__ import annotations

from pathlib import Path

from fairtune.data.shown import Shown, ShownExample
from fairtune.data.visible import Piece, visible
from fairtune.report.data_show import bar_label, counted, counts, counts_by_part, holds, ids_text, shared_characters

_TEMPLATE = Path(__file__).with_name("data_show.html.jinja")


def html_of(shown: Shown) -> str:
    """The page. Every text of the rows is escaped."""
    from jinja2 import Environment

    part = next(part for part in shown.parts if part.name == shown.part)
    most = max((bar.count for bar in part.bars), default=1)
    bars = [
        {
            "label": bar_label(bar),
            "count": f"{bar.count:,}",
            "percent": f"{100 * bar.count / most:.2f}",
            "limit": part.lost is not None and holds(bar, shown.max_length),
        }
        for bar in part.bars
    ]
    page = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
        _TEMPLATE.read_text(encoding="utf-8")
    )
    return page.render(
        shown=shown,
        counts=counts_by_part(shown),
        bars=bars if part.examples > 1 else [],
        longest=part.longest,
        findings=[(finding, counted(finding), ids_text(finding)) for finding in shown.findings],
        examples=[_example(example) for example in shown.examples],
    )


def _example(example: ShownExample) -> dict[str, object]:
    kept, lost = example.pieces[: example.kept], example.pieces[example.kept :]
    return {
        "id": example.id,
        "counts": counts(example),
        "shared": shared_characters(example),
        "kept": [_token(piece) for piece in kept],
        "lost": [_token(piece) for piece in lost],
    }


def _token(piece: Piece) -> dict[str, str]:
    kinds = [(piece.supervised, "loss"), (piece.special, "special"), (bool(piece.character), "bytes")]
    part = f", part of {visible(piece.character)}" if piece.character else ""
    loss = "carries loss" if piece.supervised else "no loss"
    return {
        "text": visible(piece.text),
        "kind": " ".join(name for holds, name in kinds if holds),
        "about": f"{piece.id} · {visible(piece.text).strip()}{part} · {loss}{', special' if piece.special else ''}",
    }
