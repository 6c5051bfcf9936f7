"""What the study found, in a few sentences."""

from __future__ import annotations

from fairtune.report.collect import AGAINST_BASE, Comparison, Report
from fairtune.report.html.names import interval, names_of_runs, p_value, signed, unfinished


def story(report: Report) -> list[str]:
    """Paragraphs, the most important first."""
    names = names_of_runs(report)
    found = [_sentence(item, names) for item in _strongest(report)]
    told = [" ".join(found)] if found else ["There is nothing to compare yet."]
    failed = unfinished(report)
    if failed:
        told.append(f"{len(failed)} of {len(report.entries)} runs have no results; the table says why.")
    return told


def _strongest(report: Report) -> list[Comparison]:
    """The comparison with the untouched model that is the surest, for each metric that says what is better."""
    best: dict[str, Comparison] = {}
    for found in report.comparisons:
        if found.family != AGAINST_BASE or report.known[found.metric].higher_is_better is None:
            continue
        if found.metric not in best or found.p_adjusted < best[found.metric].p_adjusted:
            best[found.metric] = found
    return list(best.values())[:4]


def _sentence(found: Comparison, names: dict[str, str]) -> str:
    said = {"better": "is better than", "worse": "is worse than"}.get(found.verdict, "shows no difference from")
    return (
        f"{names.get(found.a_runs[0], found.a)} {said} the untouched model in {found.metric}: "
        f"{signed(found.difference)} {interval(found.low, found.high, sign=True)}, p {p_value(found.p_adjusted)}."
    )
