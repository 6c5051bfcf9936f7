"""What must be said beside the tables: leaks, rows left out or added, texts cut, missing intervals, signs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fairtune.evaluate.sandbox import confinement
from fairtune.records import RunRecord
from fairtune.report.comparisons import NOT_SHOWN, THESE_RUNS, Comparison
from fairtune.report.leaks import leak_notes
from fairtune.units import format_seconds

_SIGNS = (
    "Intervals: 95 %, over other test items; of a mean over three seeds or more, over other seeds too. Δ: paired "
    "difference, to the base where no other is named. ▲ better, ▼ worse, △ higher and ▽ lower where neither is "
    "better, ≈ no difference shown: at 5 % for all comparisons with the base together, and for all among methods "
    "together (Holm), which are asked only where something differs from the base."
)
_ONE_SEED = (
    "¹ These very runs differ, on other items too. One seed cannot say whether the methods do: give `seeds` at least "
    "three."
)
_FEW_SEEDS = (
    "¹ These very runs differ, on other items too; whether other seeds would, {seeds} seeds are too few, or too "
    "different, to say."
)


def notes_of(records: Sequence[RunRecord], comparisons: Sequence[Comparison]) -> list[str]:
    """Each once, in the order of importance."""
    told = [
        leak_notes,
        _bad_rows,
        _findings,
        _augmented,
        _cuts,
        _cut_benchmarks,
        _cached,
        _unconfined,
        _skipped,
        _slow_fp16,
    ]
    notes = [note for tell in (*told, _missing_intervals) for note in tell(records)]
    return list(dict.fromkeys([*notes, *_signs(comparisons)]))


def _signs(comparisons: Sequence[Comparison]) -> Iterator[str]:
    """How to read differences, and what their verdicts speak of."""
    if not comparisons:
        return
    yield _SIGNS
    seeds = {found.seeds for found in comparisons if found.about == THESE_RUNS and found.verdict != NOT_SHOWN}
    for count in sorted(seeds - {0}):
        yield _ONE_SEED if count == 1 else _FEW_SEEDS.format(seeds=count)


def _bad_rows(records: Sequence[RunRecord]) -> Iterator[str]:
    for record in records:
        if record.bad_rows:
            yield (
                f"Left out: {record.bad_rows.count:,} rows of the data could not be used (list in record.json). "
                f"The first: {record.bad_rows.listed[0]}."
            )


def _augmented(records: Sequence[RunRecord]) -> Iterator[str]:
    """Once for each augmentation, from its first run: other seeds make other copies."""
    told: set[str] = set()
    for record in records:
        found = record.augmentation
        if found is None or found.label in told:
            continue
        told.add(found.label)
        less = found.asked - found.added
        why = f" ({less} fewer than asked: no new text, a held-out question, or no room)" if less else ""
        yield (
            f"Augmentation {found.label}: {found.added} changed copies{why} beside {found.originals} training examples "
            f"(seed {record.spec.seed}); an epoch goes over both."
        )


def _findings(records: Sequence[RunRecord]) -> Iterator[str]:
    """Errors and warnings about the training examples, each once a model."""
    for record in records:
        for finding in record.data_findings:
            if finding.severity != "note":
                yield (
                    f"Data: {finding.severity} {finding.name} in {finding.count} training examples "
                    f"({finding.share:.1%}), as {record.spec.model.name} reads them: {finding.text}. "
                    "See `fairtune data show`."
                )


def _cuts(records: Sequence[RunRecord]) -> Iterator[str]:
    for record in records:
        if record.tokens and record.tokens.cut_examples:
            yield (
                f"Cut: {record.tokens.cut_examples} training examples were longer than max_length and lost "
                f"{record.tokens.cut_tokens} tokens ({_name(record)})."
            )


def _cut_benchmarks(records: Sequence[RunRecord]) -> Iterator[str]:
    for record in records:
        for note in record.benchmarks:
            if note.cut_requests:
                yield (
                    f"Cut: {note.cut_requests} of {note.requests} requests of {note.name} were longer than "
                    f"{record.spec.model.name} reads, and lost {note.cut_tokens} tokens of their beginning."
                )


def _cached(records: Sequence[RunRecord]) -> Iterator[str]:
    """What phase ``evaluate`` does not say of a run."""
    for record in records:
        seconds = {note.name: note.seconds for note in record.benchmarks if note.cached}
        if seconds:
            took = ", ".join(f"{name} ({format_seconds(spent)})" for name, spent in seconds.items())
            yield (
                f"Cached: {_name(record)} on {record.spec.model.name} (seed {record.spec.seed}) had answered {took} "
                "before with the same weights; time and peak memory of its `evaluate` are without them."
            )


def _unconfined(records: Sequence[RunRecord]) -> Iterator[str]:
    for record in records:
        for name, value in record.metrics.items():
            if value.signature == confinement(False):
                yield f"{name}: programs ran without a sandbox, since the study says `allow_unsafe_code: true`."


def _skipped(records: Sequence[RunRecord]) -> Iterator[str]:
    for record in records:
        found = record.loss_scaling
        if found and found.skipped_updates:
            yield (
                f"Skipped: {_name(record)} (seed {record.spec.seed}) skipped {found.skipped_updates} of "
                f"{found.updates} updates, whose gradients did not fit fp16: it saw those examples for nothing."
            )


def _slow_fp16(records: Sequence[RunRecord]) -> Iterator[str]:
    if any(
        record.spec.precision.startswith("fp16") and record.provenance and record.provenance.device == "cpu"
        for record in records
    ):
        yield "fp16 on a CPU: most have no products for it and go number by number. Its speed says nothing of a GPU's."


def _name(record: RunRecord) -> str:
    """Method and augmentation."""
    augment = record.spec.augment
    return f"{record.spec.method.label} {augment.label}" if augment else record.spec.method.label


def _missing_intervals(records: Sequence[RunRecord]) -> list[str]:
    reasons = {value.reason for record in records for value in record.metrics.values()}
    return [f"[?]: no interval, since {reason}." for reason in sorted(filter(None, reasons))]
