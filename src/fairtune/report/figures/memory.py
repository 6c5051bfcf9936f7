"""What the memory of training was to be made of, and the peak that was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from fairtune.report.collect import Report
from fairtune.report.figures.bars import rows_of
from fairtune.report.figures.cast import Method, methods_of, missing, shortened
from fairtune.report.figures.figure import Figure
from fairtune.report.figures.palette import Palette
from fairtune.report.figures.sheet import Item, legend, legend_height, ticks, write
from fairtune.report.figures.uplift import numbered, titled
from fairtune.units import format_bytes

_TERMS = 8
_OTHER = "other"
_ROWS = 20
_NEAR = 1.5


@dataclass(frozen=True)
class Terms:
    """Of a method: predicted bytes by term, of the run that was to need most; the largest peak; what it may take."""

    method: Method
    terms: dict[str, int]
    measured: int | None
    budget: int | None


def memory(report: Report) -> list[Figure]:
    """Where the memory of a training was predicted."""
    trained = [method for method in methods_of(report) if method.place is not None]
    found = [terms for method in trained if (terms := _terms(method))]
    shown = {each.method.cell for each in found}
    absent = missing((method.name for method in trained if method.cell not in shown), "no prediction")
    order = _order(found)
    caption = (
        "Each bar is the predicted peak of training by what it is made of, of the seed that was to need most; the "
        "diamond is the largest peak that was measured, and a broken line, where there is one, what a run may take."
        f"{absent}"
    )
    blocks = [found[first : first + _ROWS] for first in range(0, len(found), _ROWS)]
    return [
        Figure(
            name=numbered("memory", place),
            title=titled("Memory of training, by what it is for", place, len(blocks)),
            caption=caption,
            alt=shortened([_said(each) for each in block]),
            draw=partial(_draw, block, order),
        )
        for place, block in enumerate(blocks)
    ]


def _terms(method: Method) -> Terms | None:
    """Runs that did not fit have a prediction too."""
    records = [entry.record for entry in method.entries if entry.record]
    planned = [record.plan.phases["train"].terms for record in records if "train" in record.plan.phases]
    largest = max(planned, key=lambda terms: sum(terms.values()), default={})
    costs = [record.phases["train"].peak_bytes for record in records if "train" in record.phases]
    measured = max((peak for peak in costs if peak is not None), default=None)
    budget = min((record.plan.budget_bytes for record in records if record.plan.budget_bytes), default=None)
    terms = {name: size for name, size in largest.items() if size > 0}
    return Terms(method, terms, measured, budget) if terms else None


def _order(found: Sequence[Terms]) -> list[str]:
    """The terms, as they first appear; the smallest are one where there are more than colours."""
    sums: dict[str, int] = {}
    for each in found:
        for name, size in each.terms.items():
            sums[name] = sums.get(name, 0) + size
    if len(sums) <= _TERMS:
        return list(sums)
    kept = set(sorted(sums, key=lambda name: -sums[name])[: _TERMS - 1])
    return [*(name for name in sums if name in kept), _OTHER]


def _said(each: Terms) -> str:
    parts = ", ".join(f"{name} {format_bytes(size)}" for name, size in each.terms.items())
    measured = f"; measured {format_bytes(each.measured)}" if each.measured is not None else ""
    return f"{each.method.name}: {format_bytes(sum(each.terms.values()))} predicted ({parts}){measured}."


def _draw(found: Sequence[Terms], order: Sequence[str], palette: Palette) -> Any:
    colours = {name: palette.series[place % len(palette.series)] for place, name in enumerate(order)}
    items: list[Item] = [("s", colours[name], name) for name in order]
    if any(each.measured is not None for each in found):
        items.append(("D", palette.ink, "measured peak"))
    largest = max(max(sum(each.terms.values()), each.measured or 0) for each in found)
    budgets = {each.budget for each in found}
    budget = budgets.pop() if len(budgets) == 1 else None
    # One that is far beyond all bars would only press them together.
    if budget is not None and budget <= _NEAR * largest:
        items.append(("|", palette.worse, f"budget {format_bytes(budget)}"))
    else:
        budget = None
    laid = rows_of([each.method.name for each in found], palette, below=legend_height(items, 430) + 6)
    divide, unit = (2**30, "GiB") if largest >= 2**30 else (2**20, "MiB")
    laid.frame.set_xlim(0, max(largest, budget or 0) / divide * 1.04)
    ticks(laid.frame.xaxis, 5)
    if budget is not None:
        laid.frame.axvline(budget / divide, color=palette.worse, linewidth=1.5, linestyle=(0, (4, 2)), zorder=4)
    for place, each in enumerate(found):
        start = 0.0
        for name in order:
            size = _size(each, name, order) / divide
            if size:
                style = {"color": colours[name], "edgecolor": palette.surface, "linewidth": 0.6, "zorder": 3}
                laid.frame.barh(place + 0.5, size, 0.6, left=start, **style)
                start += size
        if each.measured is not None:
            style = {"color": palette.ink, "markersize": 7, "mec": palette.surface, "mew": 1, "zorder": 5}
            laid.frame.plot([each.measured / divide], [place + 0.5], "D", **style)
    write(laid.on, laid.left + laid.width, laid.beyond - 14, unit, palette, ha="right")
    legend(laid.on, 12, laid.beyond, 430, items, palette)
    return laid.on


def _size(each: Terms, name: str, order: Sequence[str]) -> int:
    if name == _OTHER and name not in each.terms:
        return sum(size for term, size in each.terms.items() if term not in order)
    return each.terms.get(name, 0)
