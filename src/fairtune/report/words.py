"""What a study found, in plain words: asked, found, at what cost, what did not work, what cannot be concluded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fairtune.report.collect import Report, Row
from fairtune.report.comparisons import AGAINST_BASE, AMONG_METHODS, NOT_SHOWN, OTHER_SEEDS, THESE_RUNS, Comparison
from fairtune.report.names import (
    format_score,
    listed,
    method_name,
    p_value,
    signed,
    signed_ends_of,
)
from fairtune.study import RunSpec
from fairtune.units import format_bytes, format_count, format_seconds

_STATUSES = {
    "does_not_fit": "did not fit the memory",
    "out_of_memory": "ran out of memory",
    "diverged": "diverged",
    "timeout": "ran out of time",
    "failed": "failed",
    "interrupted": "was interrupted",
    "waiting": "waits for its trials",
    "missing": "has not been run yet",
    "unreadable": "has a record that cannot be read",
}
_FEW_ITEMS = 30


@dataclass(frozen=True)
class Paragraph:
    """Some sentences, and what they are about: ``asked``, ``found``, ``cost``, ``failed`` or ``open``."""

    about: str
    text: str


def story(report: Report) -> list[Paragraph]:
    """In the order in which people ask."""
    told = {"asked": _asked, "found": _found, "cost": _cost, "failed": _failed, "open": _open}
    texts = {about: " ".join(tell(report)) for about, tell in told.items()}
    return [Paragraph(about, text) for about, text in texts.items() if text]


def main_metric(report: Report) -> str | None:
    """The first metric of the study that says which way is better, and has been measured."""
    measured = {name for row in report.rows for name, value in row.values.items() if value.value is not None}
    directed = [name for name in report.metrics if report.known[name].higher_is_better is not None]
    return next((name for name in directed if name in measured), directed[0] if directed else None)


def _named(spec: RunSpec, report: Report) -> str:
    return method_name(spec, [entry.spec for entry in report.entries])


def _side(run: str, report: Report) -> str:
    return next(_named(entry.spec, report) for entry in report.entries if entry.spec.run_id == run)


def _asked(report: Report) -> Iterator[str]:
    if not report.entries:
        return
    specs = [entry.spec for entry in report.entries]
    trained = list(dict.fromkeys(_named(spec, report) for spec in specs if spec.method.trains))
    models = list(dict.fromkeys(spec.model.name for spec in specs))
    seeds = len({spec.seed for spec in specs if spec.method.trains})
    task = specs[0].task.task.name
    if not trained:
        yield f"How good is {listed(models)} at {task}?"
        return
    which = f"{len(trained)} ways of tuning" if len(trained) > 4 else listed(trained)
    what = f"{listed(models)} better at {task}"
    yield f"Which of {which} makes {what}, and which does most?" if trained[1:] else f"Does {which} make {what}?"
    items = max((value.n for row in report.rows for value in row.values.values()), default=0)
    once = "once" if seeds == 1 else f"with {seeds} seeds"
    yield f"Every method was trained {once}" + (f" and scored on the same items, {items:,} at most." if items else ".")


def _found(report: Report) -> Iterator[str]:
    name = main_metric(report)
    if name is None:
        return
    best = _leader(report, name)
    against = [found for found in report.comparisons if (found.family, found.metric) == (AGAINST_BASE, name)]
    if best is None or not report.comparisons:
        yield "There is nothing to compare yet: the untouched model or what was made of it has no results."
        return
    yield from _against_base(best, against, name, report)
    yield from _leading(best, name, report)
    yield from _other_metrics(report, name)


def _wholes(report: Report) -> list[Row]:
    """A row a method: the mean over its seeds, or its only run."""
    cells: dict[str, Row] = {}
    for row in report.rows:
        if row.entries[0].ok and (row.mean or row.spec.cell not in cells):
            cells[row.spec.cell] = row
    return list(cells.values())


def _leader(report: Report, name: str) -> Row | None:
    """The trained method with the best score."""
    higher = report.known[name].higher_is_better
    scored = [(row.values[name].value, row) for row in _wholes(report) if row.spec.method.trains and name in row.values]
    known = [(value, row) for value, row in scored if value is not None]
    if not known:
        return None
    return (max if higher else min)(known, key=lambda pair: pair[0])[1]


def _against_base(best: Row, against: Sequence[Comparison], name: str, report: Report) -> Iterator[str]:
    runs = tuple(entry.spec.run_id for entry in best.entries)
    found = next((comparison for comparison in against if comparison.a_runs == runs), None)
    value = best.values[name].value
    lead = f"By {name}, {_named(best.spec, report)} scores best: {format_score(value)}"
    if found is None:
        yield f"{lead}; it could not be compared with the untouched model."
        return
    change = f"{lead}, {signed(found.difference)} {signed_ends_of(found.low, found.high)} against the untouched model"
    yield f"{change} ({_sureness(found)})."
    if len(against) > 1:
        yield _tally(Counter(comparison.verdict for comparison in against))


def _tally(verdicts: Counter[str]) -> str:
    """How many methods are better, and how many not."""
    count = sum(verdicts.values())
    if verdicts["better"] == count:
        return f"{'Both' if count == 2 else f'All {count}'} methods are better than the untouched model."
    words = {"better": "better", "worse": "worse", NOT_SHOWN: "not shown to differ"}
    parts = [f"{verdicts[verdict]} {word}" for verdict, word in words.items() if verdicts[verdict]]
    return f"Of {count} methods, against the untouched model, {listed(parts)}."


def _sureness(found: Comparison) -> str:
    """How sure, of what."""
    if found.verdict == NOT_SHOWN:
        could = f"; {format_score(found.smallest)} could have been shown" if found.smallest is not None else ""
        return f"no difference shown, p {p_value(found.p_adjusted)}{could}"
    of = "on other items and with other seeds" if found.about == OTHER_SEEDS else "of these very runs, on other items"
    return f"95 % interval {of}; p {p_value(found.p_adjusted)}"


def _leading(best: Row, name: str, report: Report) -> Iterator[str]:
    """Whether the best is really better than the others."""
    runs = tuple(entry.spec.run_id for entry in best.entries)
    pairs = [
        found
        for found in report.comparisons
        if found.metric == name and found.family == AMONG_METHODS and runs in (found.a_runs, found.b_runs)
    ]
    if not pairs:
        return
    beaten = [_other(found, runs, report) for found in pairs if found.verdict != NOT_SHOWN]
    level = [_other(found, runs, report) for found in pairs if found.verdict == NOT_SHOWN]
    who = _named(best.spec, report)
    if beaten:
        runs_only = all(found.about == THESE_RUNS for found in pairs if found.verdict != NOT_SHOWN)
        yield f"{who} is better than {_some(beaten)}" + (", for these runs." if runs_only else ".")
    if level:
        yield f"Between {who} and {_some(level)} no difference is shown{_to_settle(pairs)}."


def _some(names: Sequence[str]) -> str:
    return listed(list(names)) if len(names) <= 4 else f"{listed(list(names[:3]))} and {len(names) - 3} more"


def _other(found: Comparison, runs: tuple[str, ...], report: Report) -> str:
    return _side((found.b_runs if found.a_runs == runs else found.a_runs)[0], report)


def _to_settle(pairs: Sequence[Comparison]) -> str:
    """What the nearest open question would need."""
    still = [found for found in pairs if found.verdict == NOT_SHOWN]
    if len(still) != 1:
        return ""
    needs = [f"{still[0].items_needed:,} items"] if still[0].items_needed else []
    needs += [f"{still[0].seeds_needed:,} seeds"] if still[0].seeds_needed else []
    gap = signed(still[0].difference)
    return f" ({gap}; if that is the truth, it takes {' or '.join(needs)} to show it)" if needs else f" ({gap})"


def _other_metrics(report: Report, main: str) -> Iterator[str]:
    """Where other metrics say otherwise of any method."""
    against: dict[str, set[str]] = {}
    for found in report.comparisons:
        if found.family == AGAINST_BASE and found.verdict in {"better", "worse"}:
            against.setdefault(found.metric, set()).add(found.verdict)
    worse = [name for name, verdicts in against.items() if "worse" in verdicts and name != main]
    if worse:
        yield f"By {listed(worse)} some method is worse than the untouched model."


def _cost(report: Report) -> Iterator[str]:
    rows = [row for row in _wholes(report) if row.spec.method.trains and row.seconds("train") is not None]
    if not rows:
        return
    shown = rows if len(rows) <= 3 else _extremes(rows)
    parts = []
    for row in shown:
        trainable = row.average(lambda record: record.parameters.trainable if record.parameters else None)
        peaks = [entry.record.phases["train"].peak_bytes for entry in row.entries if entry.record]
        peak = max((bytes_ for bytes_ in peaks if bytes_ is not None), default=None)
        weights = format_count(None if trainable is None else round(trainable))
        memory = f", with {format_bytes(peak)} at most" if peak is not None else ""
        parts.append(
            f"{_named(row.spec, report)} trained {weights} weights in {format_seconds(row.seconds('train'))}{memory}"
        )
    yield f"{'; '.join(parts)}."


def _extremes(rows: Sequence[Row]) -> list[Row]:
    """The quickest and the slowest of many."""
    ordered = sorted(rows, key=lambda row: row.seconds("train") or 0.0)
    return [ordered[0], ordered[-1]]


def _failed(report: Report) -> Iterator[str]:
    lost = [entry for entry in report.entries if not entry.ok]
    for status, told in _STATUSES.items():
        names = list(dict.fromkeys(_named(entry.spec, report) for entry in lost if entry.status == status))
        if names:
            count = sum(entry.status == status for entry in lost)
            runs = f" ({count} runs)" if count > len(names) else ""
            yield f"{_some(names)}{runs} {told if len(names) == 1 else _plural(told)}."


def _plural(told: str) -> str:
    return told.replace("was ", "were ", 1).replace("has ", "have ", 1)


def _open(report: Report) -> Iterator[str]:
    """What cannot be concluded."""
    trained = [entry for entry in report.entries if entry.ok and entry.spec.method.trains]
    if not trained:
        return
    seeds = min(Counter(entry.spec.cell for entry in trained).values())
    if seeds == 1:
        yield "With one seed nobody can say whether a method is better, or this run of it: give three seeds or more."
    elif any(found.about == THESE_RUNS and found.verdict != NOT_SHOWN for found in report.comparisons):
        yield f"Where ¹ stands, {seeds} seeds are too few, or too different, to say whether others would do the same."
    if report.leaked:
        yield f"Test items stand in the training data, which flatters {_some(sorted(report.leaked))}."
    unequal = {found.unequal for found in report.comparisons if found.unequal}
    if unequal:
        yield "Some methods had more trials to find good options than others, and are compared all the same."
    items = min((found.n for found in report.comparisons), default=_FEW_ITEMS)
    if items < _FEW_ITEMS:
        yield f"{items} items say little about others."
    if not any(not entry.spec.method.trains for entry in report.entries):
        yield "The study has no `base`, so nothing says whether tuning helped at all."
