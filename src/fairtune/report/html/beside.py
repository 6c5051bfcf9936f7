"""The same items, answered by every method; and what models wrote by themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fairtune.report.collect import Report
from fairtune.report.html.items import LONGEST, shortened
from fairtune.report.html.names import method_name
from fairtune.report.html.pool import Pool

SHOWN = 6


@dataclass(frozen=True)
class Answer:
    """What a run wrote. ``right``: word for word what was asked for."""

    run: str
    text: str
    right: bool


@dataclass(frozen=True)
class Answered:
    """An item, and the answers of the first run of each method."""

    id: str
    prompt: str | None
    reference: str
    answers: tuple[Answer, ...]


def answered_items(report: Report, pool: Pool, prompts: Mapping[str, str]) -> list[Answered]:
    """The first few by the hash of their id, of those that most methods answered."""
    firsts = _first_runs(pool)
    written = {id(item): sum(run in item.outputs for run in firsts) for item in pool.items}
    most = max(written.values(), default=0)
    if not most:
        return []
    found = sorted((item for item in pool.items if written[id(item)] == most), key=lambda item: item.order)
    return [
        Answered(
            item.id,
            _shortened(prompts.get(item.id)),
            shortened(item.reference, LONGEST),
            tuple(
                Answer(
                    method_name(pool.entries[run].spec, report),
                    shortened(item.outputs[run], LONGEST),
                    item.outputs[run].strip() == item.reference.strip(),
                )
                for run in firsts
                if run in item.outputs
            ),
        )
        for item in found[:SHOWN]
    ]


def _shortened(text: str | None) -> str | None:
    return None if text is None else shortened(text, LONGEST)


def _first_runs(pool: Pool) -> list[int]:
    """The number of the first finished run of each method."""
    firsts: dict[str, int] = {}
    for run, entry in enumerate(pool.entries):
        firsts.setdefault(entry.spec.cell, run)
    return list(firsts.values())
