"""What a study found, in plain words: asked, found, at what cost, what did not work, what cannot be concluded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fairtune.report.collect import Report, Row
from fairtune.report.comparisons import AGAINST_BASE, AMONG_METHODS, NOT_SHOWN, OTHER_SEEDS, THESE_RUNS, Comparison
from fairtune.report.names import (
    ends_of,
    format_score,
    listed,
    method_name,
    p_value,
    signed,
    signed_ends_of,
    two_digits,
)
from fairtune.report.tables import Entry
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
    yield f"Each is trained {once}, and scored on the same items{f' ({items:,} at most)' if items else ''}."


def _found(report: Report) -> Iterator[str]:
    name = main_metric(report)
    if name is None:
        return
    trained = _ranked(report, name, trains=True)
    if not trained:
        yield from (
            f"By {name}, {_named(row.spec, report)} scores {_score(row, name)}." for row in _ranked(report, name)
        )
        if any(entry.spec.method.trains for entry in report.entries):
            yield "No trained run has results yet."
        return
    against = [found for found in report.comparisons if (found.family, found.metric) == (AGAINST_BASE, name)]
    yield _best(trained, against, name, report)
    if len(against) > 1:
        yield _tally(against)
    yield from _leading(trained[0], name, report)
    yield from _other_metrics(report, name)


def _ranked(report: Report, name: str, trains: bool = False) -> list[Row]:
    """Methods that have a score, the best first."""
    sign = -1.0 if report.known[name].higher_is_better else 1.0
    scored = [
        (sign * value.value, place, row)
        for place, row in enumerate(report.wholes.values())
        if row.spec.method.trains == trains and (value := row.values.get(name)) and value.value is not None
    ]
    return [row for _, _, row in sorted(scored, key=lambda one: one[:2])]


def _score(row: Row, name: str) -> str:
    value = row.values[name]
    return f"{format_score(value.value)} {ends_of(value.low, value.high)}"


def _best(trained: Sequence[Row], against: Sequence[Comparison], name: str, report: Report) -> str:
    best = trained[0]
    first = best.values[name].value
    ahead = len(trained) > 1 and all(row.values[name].value != first for row in trained[1:])
    lead = f"By {name}, {_named(best.spec, report)} scores {'best: ' if ahead else ''}{format_score(first)}"
    found = next((one for one in against if one.a_runs == _runs(best)), None)
    if found is None:
        return f"{lead}; there is no untouched model to compare it with."
    return f"{lead}, {signed(found.difference)} against the untouched model ({_sureness(found)})."


def _runs(row: Row) -> tuple[str, ...]:
    return tuple(entry.spec.run_id for entry in row.entries)


def _tally(against: Sequence[Comparison]) -> str:
    """How many methods are better, and how many not."""
    verdicts, count = Counter(found.verdict for found in against), len(against)
    these = [found for found in against if found.verdict != NOT_SHOWN and found.about == THESE_RUNS and found.seeds]
    only = ""
    if these:
        every = len(these) == count - verdicts[NOT_SHOWN]
        only = ", for these very runs" if every else f", {len(these)} for these runs alone"
    if verdicts["better"] == count:
        return f"{'Both' if count == 2 else f'All {count}'} methods are better than the untouched model{only}."
    words = {"better": "better", "worse": "worse", NOT_SHOWN: "not shown to differ"}
    parts = [f"{verdicts[verdict]} {word}" for verdict, word in words.items() if verdicts[verdict]]
    return f"Of {count} methods, against the untouched model, {listed(parts)}{only}."


def _sureness(found: Comparison) -> str:
    """How sure, of what."""
    ends = f"95 % interval {signed_ends_of(found.low, found.high)}" if found.low is not None else "no interval"
    if found.verdict == NOT_SHOWN:
        could = f"; {format_score(found.smallest)} could have been shown" if found.smallest is not None else ""
        return f"{ends}, p {p_value(found.p_adjusted)}: no difference shown{could}"
    of = "on other items and with other seeds" if found.about == OTHER_SEEDS else "of these very runs, on other items"
    return f"{ends} {of}; p {p_value(found.p_adjusted)}"


def _leading(best: Row, name: str, report: Report) -> Iterator[str]:
    """Whether the best is really better than the others."""
    runs = _runs(best)
    pairs = [
        found
        for found in report.comparisons
        if found.metric == name and found.family == AMONG_METHODS and runs in (found.a_runs, found.b_runs)
    ]
    who = _named(best.spec, report)
    for about, told in ((OTHER_SEEDS, ""), (THESE_RUNS, ", for these very runs")):
        beaten = [_other(one, runs, report) for one in pairs if one.verdict != NOT_SHOWN and one.about == about]
        if beaten:
            yield f"{who} is better than {_some(beaten)}{told}."
    level = [found for found in pairs if found.verdict == NOT_SHOWN]
    if level:
        others = _some([_other(found, runs, report) for found in level])
        yield f"Between {who} and {others} no difference is shown{_to_settle(level, runs)}."


def _some(names: Sequence[str]) -> str:
    return listed(list(names)) if len(names) <= 4 else f"{listed(list(names[:3]))} and {len(names) - 3} more"


def _other(found: Comparison, runs: tuple[str, ...], report: Report) -> str:
    return _side((found.b_runs if found.a_runs == runs else found.a_runs)[0], report)


def _to_settle(level: Sequence[Comparison], runs: tuple[str, ...]) -> str:
    """What a single open question would need; the difference as the best has it."""
    if len(level) != 1:
        return ""
    found = level[0]
    gap = signed(found.difference if found.a_runs == runs else -found.difference)
    needs = [f"{two_digits(found.items_needed):,} items"] if found.items_needed else []
    needs += [f"{two_digits(found.seeds_needed):,} seeds"] if found.seeds_needed else []
    return f" ({gap}; if that is the truth, it takes about {' or '.join(needs)} to show it)" if needs else f" ({gap})"


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
    rows = [row for row in report.wholes.values() if row.spec.method.trains and row.seconds("train") is not None]
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
    return told.replace("was ", "were ", 1).replace("has ", "have ", 1).replace("waits for its", "wait for their", 1)


def _open(report: Report) -> Iterator[str]:
    """What cannot be concluded."""
    trained = [entry for entry in report.entries if entry.ok and entry.spec.method.trains]
    if not trained:
        return
    yield from _seeds(trained, report)
    if report.leaked:
        yield f"Test items stand in the training or validation data, which flatters {_some(sorted(report.leaked))}."
    unequal = {found.unequal for found in report.comparisons if found.unequal}
    if unequal:
        yield "Some methods had more trials to find good options than others, and are compared all the same."
    items = min((found.n for found in report.comparisons), default=_FEW_ITEMS)
    if items < _FEW_ITEMS:
        yield f"{items} items say little about others."
    if not any(not entry.spec.method.trains for entry in report.entries):
        yield "The study has no `base`, so nothing says whether tuning helped at all."


def _seeds(trained: Sequence[Entry], report: Report) -> Iterator[str]:
    """Of which methods nobody knows what other seeds would do."""
    counts = Counter(_named(entry.spec, report) for entry in trained)
    alone = [name for name, count in counts.items() if count == 1]
    if len(alone) == len(counts):
        yield "With one seed nobody can say whether a method is better, or this run of it: give three seeds or more."
    elif alone:
        yield f"Of {_some(alone)} one seed alone has results, so nothing is known of others."
    shown = {found.seeds for found in report.comparisons if found.about == THESE_RUNS and found.verdict != NOT_SHOWN}
    for seeds in sorted(shown - {0, 1}):
        yield f"Where ¹ stands, {seeds} seeds are too few, or too different, to say whether others would do the same."
