"""Assembles the page: a template, one style sheet, one script, and the study's numbers."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fairtune.report.cells import ONLY_RUNS, mark_of
from fairtune.report.chances import trials_table
from fairtune.report.collect import Report
from fairtune.report.html import about, beside, cost, quality, statistics
from fairtune.report.html.figures import pictures
from fairtune.report.html.items import LONGEST, embedded, safe_json
from fairtune.report.html.names import breakable, once
from fairtune.report.html.pool import read_pool
from fairtune.report.judged import JUDGED_HEADINGS, judged_rows
from fairtune.report.labels import label_tables
from fairtune.report.leaks import LEAKED
from fairtune.report.names import DASH
from fairtune.report.samples import samples
from fairtune.report.words import story

_HERE = Path(__file__).parent
_OURS = ("page.css", "page.js")


def render(
    report: Report,
    *,
    study_text: str | None = None,
    study_file: str | None = None,
    prompts: Mapping[str, str] | None = None,
    parts: Mapping[str, int] | None = None,
) -> str:
    """The page, the same for the same report. Every text of models, data and the study is escaped.

    Args:
        study_text: the study file, to be shown.
        study_file: its name, for the command that repeats the study.
        prompts: what was asked, by the id of an item; records hold only its hash.
        parts: number of examples in each part of the data.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = breakable
    style, script = (Markup((_HERE / name).read_text(encoding="utf-8")) for name in _OURS)  # noqa: S704 - our own files
    return environment.get_template("page.html.jinja").render(
        title=report.study,
        style=style,
        script=script,
        policy=_policy(script),
        markup=Markup,
        dash=DASH,
        study_text=study_text,
        study_file=study_file or f"{report.study}.yaml",
        **_context(report, prompts or {}, parts or {}),
    )


def _policy(script: str) -> str:
    """Nothing from anywhere; of scripts only ours. Figures carry styles of their own."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _context(report: Report, prompts: Mapping[str, str], parts: Mapping[str, int]) -> dict[str, Any]:
    """What the template shows, section by section."""
    from markupsafe import Markup

    pool = read_pool(report)
    items = embedded(report, pool, prompts)
    pairs = statistics.comparison_lines(report)
    return {
        "story": story(report),
        "headline": about.headline(report),
        "chips": about.chips(report),
        "metrics": [(name, report.known[name], name in report.leaked) for name in report.metrics],
        "undirected": any(report.known[name].higher_is_better is None for name in report.metrics),
        "quality": quality.quality_lines(report),
        "cost_headings": cost.cost_headings(report),
        "cost": cost.cost_lines(report),
        "cost_starts": cost.starts(cost.cost_headings(report)),
        "pictures": [(picture, Markup(picture.svg)) for picture in pictures(report)],  # noqa: S704 - drawn by us
        "pairs": pairs,
        "pair_metrics": once(line.metric for line in pairs),
        "pair_families": once(line.family for line in pairs),
        "spoken_of": statistics.spoken_of(report),
        "pairs_left": len(report.comparisons) - len(pairs),
        "pair_columns": [(at, *statistics.HEADINGS[at]) for at in statistics.used_columns(pairs)],
        "items": items,
        "items_json": Markup(items.text) if items else None,  # noqa: S704 - safe_json made it
        "items_chosen": Markup(safe_json([*items.pair, items.metric])) if items else None,  # noqa: S704 - the same
        "longest": LONGEST,
        "finished": len(pool.entries),
        "problems": pool.problems,
        "answered": beside.answered_items(report, pool, prompts),
        "samples": samples(report),
        "labels": label_tables(report),
        "trials": trials_table(report.trials, report.entries),
        "footnoted": any(ONLY_RUNS in mark_of(found) for found in report.comparisons),
        **_judged(report),
        **_around(report, parts),
    }


def _judged(report: Report) -> dict[str, Any]:
    from fairtune.report.html.names import run_name
    from fairtune.report.names import format_score

    rows = judged_rows(report.judged, lambda spec: (run_name(spec, report),), format_score)
    return {"judged": rows, "judged_headings": JUDGED_HEADINGS}


def _around(report: Report, parts: Mapping[str, int]) -> dict[str, Any]:
    """Data, how numbers were made, provenance."""
    return {
        "data_counts": about.data_counts(report, parts),
        "token_headings": about.TOKEN_HEADINGS,
        "tokens": about.token_lines(report),
        "finding_headings": about.FINDING_HEADINGS,
        "findings": about.findings(report),
        "notes": [note for note in report.notes if not note.startswith(LEAKED)],
        "warnings": [note for note in report.notes if note.startswith(LEAKED)],
        "read": any(entry.record for entry in report.entries),
        "measures": about.measures(report),
        "family_headings": about.FAMILY_HEADINGS,
        "families": about.family_lines(report),
        "run_headings": about.RUN_HEADINGS,
        "runs": about.run_lines(report),
        "machines": about.machines(report),
    }
