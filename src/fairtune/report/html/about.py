"""What stands around the numbers: the header, the data, how numbers were made, where they come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fairtune.records import MetricValue, RunRecord
from fairtune.report.collect import Report
from fairtune.report.comparisons import Comparison
from fairtune.report.html.cost import records_of
from fairtune.report.html.names import count, method_name, once, run_name
from fairtune.report.names import DASH
from fairtune.report.tables import Entry
from fairtune.units import format_seconds

Table = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Chip:
    """How many runs ended in a way."""

    status: str
    number: int


def chips(report: Report) -> list[Chip]:
    """``ok`` first, then what happened most."""
    found = Counter(entry.status for entry in report.entries)
    order = sorted(found.items(), key=lambda pair: (pair[0] != "ok", -pair[1], pair[0]))
    return [Chip(status.replace("_", " "), number) for status, number in order]


def headline(report: Report) -> list[str]:
    """The study in one line."""
    specs = [entry.spec for entry in report.entries]
    records = records_of(report)
    items = [value.n for row in report.rows for value in row.values.values()]
    seeds = {spec.seed for spec in specs if spec.method.trains}
    started = sorted(record.provenance.started[:10] for record in records if record.provenance)
    devices = once(_device(record) for record in records)
    return once(
        [
            ", ".join(once(spec.model.name for spec in specs)),
            _many(len({spec.cell for spec in specs}), "method"),
            _many(len(report.metrics), "metric"),
            _many(len(seeds), "seed") if seeds else "",
            _many(max(items), "item") if items else "",
            started[-1] if started else "",
            ", ".join(devices),
        ]
    )


def _many(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def _device(record: RunRecord) -> str | None:
    found = record.provenance
    return None if found is None else found.device_name or found.device


def data_counts(report: Report, parts: Mapping[str, int]) -> Table:
    """What a study's data come to, one line a fact."""
    records = records_of(report)
    told: list[tuple[str, str]] = [(f"{part} examples", f"{number:,}") for part, number in parts.items()]
    if not parts:
        items = {value.n for record in records for value in record.metrics.values()}
        told += [("items scored", ", ".join(f"{number:,}" for number in sorted(items)))] if items else []
    first = next((entry.spec.task for entry in report.entries), None)
    told += [("task", f"{first.task.name}, version {first.task.version}")] if first else []
    told += [("labels", ", ".join(first.labels))] if first and first.labels else []
    leak = next((record.leakage for record in records if record.leakage), None)
    if leak:
        told += [
            ("test items that stand in training", count(leak.test_in_train)),
            ("test items that stand in validation", count(leak.test_in_validation)),
            ("validation items that stand in training", count(leak.validation_in_train)),
            ("duplicates in training", _or_reason(leak.duplicates, leak.reason)),
            ("rows left out, being nearly held-out items", _or_reason(leak.left_out, leak.reason)),
        ]
    else:
        told.append(("leaks", "not looked for: no run has a record of it"))
    bad = next((record.bad_rows for record in records if record.bad_rows), None)
    if records:
        told.append(("rows that could not be used", f"{bad.count:,}, the first: {bad.listed[0]}" if bad else "none"))
    return tuple(told)


def _or_reason(number: int | None, reason: str | None) -> str:
    return count(number) if number is not None else f"{DASH} ({reason})"


TOKEN_HEADINGS = ("method", "tokens in training", "with loss", "padding", "examples cut", "tokens cut", "augmented")


def token_lines(report: Report) -> Table:
    """What training went through, one line a method; of seeds the first."""
    lines: dict[str, tuple[str, ...]] = {}
    for record in records_of(report):
        if record.tokens is None or not record.spec.method.trains:
            continue
        found, more = record.tokens, record.augmentation
        added = f"{more.added:,} copies of {more.originals:,}" if more else DASH
        numbers = (found.train, found.supervised, found.padding, found.cut_examples, found.cut_tokens)
        cells = (method_name(record.spec, report), *map(count, numbers), added)
        lines.setdefault(record.spec.cell, cells)
    return tuple(lines.values())


FINDING_HEADINGS = ("finding", "severity", "model", "examples", "share", "what it is")


def findings(report: Report) -> Table:
    """Each once a model."""
    lines = {
        (found.name, record.spec.model.name): (
            *(found.name, found.severity, record.spec.model.name),
            *(f"{found.count:,}", f"{100 * found.share:.1f} %", found.text),
        )
        for record in records_of(report)
        for found in record.data_findings
    }
    return tuple(lines.values())


@dataclass(frozen=True)
class Measure:
    """How a number is made."""

    name: str
    what: str
    formula: str
    facts: str
    interval: str
    signature: str


_WAYS = {True: "higher is better", False: "lower is better", None: "neither way is better by itself"}


def measures(report: Report) -> list[Measure]:
    """Of every metric, as the records of its runs have it."""
    values = _values(report)
    lines: list[Measure] = []
    for name in report.metrics:
        metric, found = report.known[name], values.get(name, [])
        facts = f"{metric.unit or 'no unit'} · {_WAYS[metric.higher_is_better]} · version {metric.version}"
        intervals = ", ".join(once(value.interval for value in found)) or DASH
        signatures = ", ".join(once(value.signature for value in found))
        lines.append(Measure(name, metric.description, metric.formula, facts, intervals, signatures))
    return lines


def _values(report: Report) -> dict[str, list[MetricValue]]:
    found: dict[str, list[MetricValue]] = {}
    for record in records_of(report):
        for name, value in record.metrics.items():
            found.setdefault(name, []).append(value)
    return found


FAMILY_HEADINGS = ("family", "comparisons", "tests", "intervals of the difference")


def family_lines(report: Report) -> Table:
    """Within which p-values are adjusted together, over all metrics; and how they were found."""
    families: dict[str, list[Comparison]] = {}
    for found in report.comparisons:
        families.setdefault(found.family, []).append(found)
    return tuple(
        (family, str(len(members)), _ways(found.test for found in members), _ways(found.interval for found in members))
        for family, members in families.items()
    )


def _ways(told: Iterable[str]) -> str:
    """What was done, without how often it was drawn."""
    return "; ".join(once(text.partition(",")[0] for text in told))


RUN_HEADINGS = ("run", "id", "status", "device", "started (UTC)", "took", "commit")


def run_lines(report: Report) -> Table:
    """A line for each run, finished or not."""
    return tuple(_run(entry, report) for entry in report.entries)


def _run(entry: Entry, report: Report) -> tuple[str, ...]:
    found = entry.record.provenance if entry.record else None
    phases = entry.record.phases.values() if entry.record else ()
    took = format_seconds(sum(phase.seconds for phase in phases)) if phases else DASH
    name, status = run_name(entry.spec, report), entry.status.replace("_", " ")
    if found is None:
        return (name, entry.spec.run_id, status, DASH, DASH, took, DASH)
    commit = f"{found.git_commit[:10]}{' + changes' if found.git_dirty else ''}" if found.git_commit else DASH
    started = found.started[:19].replace("T", " ")
    return (name, entry.spec.run_id, status, found.device_name or found.device or DASH, started, took, commit)


def machines(report: Report) -> list[tuple[str, Table]]:
    """What runs were made with; runs that share all of it are told once."""
    told: dict[Table, list[str]] = {}
    for record in records_of(report):
        facts = _machine(record)
        if facts:
            told.setdefault(facts, []).append(run_name(record.spec, report))
    every = len(told) == 1
    return [("All runs" if every else ", ".join(runs), facts) for facts, runs in told.items()]


def _machine(record: RunRecord) -> Table:
    found = record.provenance
    if found is None:
        return ()
    packages = ", ".join(f"{name} {version}" for name, version in found.packages.items())
    commit = f"{found.git_commit}{' with changes' if found.git_dirty else ''}" if found.git_commit else None
    return (
        ("fairtune", found.fairtune),
        ("commit", commit or f"{DASH} ({found.git_reason or 'not known'})"),
        ("packages", packages),
        ("Python, platform", f"{found.python}, {found.platform}"),
        ("device", f"{found.device_name or found.device or DASH}, {found.threads or DASH} threads"),
        ("processes", f"{found.processes}{f', {found.strategy}' if found.strategy else ''}"),
        ("data", found.data_fingerprint),
        ("model", found.model_fingerprint),
        ("command", " ".join(found.command)),
    )
