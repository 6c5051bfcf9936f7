"""Reports of studies that never ran: specs from a study file, numbers by a seeded generator."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fairtune.evaluate.metrics import metrics_of
from fairtune.records import (
    ErrorInfo,
    LabelScores,
    Leakage,
    MetricValue,
    Overlap,
    Parameters,
    PhaseCost,
    Plan,
    PlannedPhase,
    RunFolder,
    RunRecord,
    Selection,
    Throughput,
)
from fairtune.report.collect import Gain, Report, Row
from fairtune.report.comparisons import AGAINST_BASE, AMONG_METHODS, Comparison
from fairtune.report.tables import Entry
from fairtune.study import BenchmarkChoice, BenchmarkRef, BenchmarkScore, RunSpec
from tests.unit.test_study import runs_of

MIB = 2**20
SMALL = ("base", "full: {learning_rate: 1e-4}", "lora: {rank: 16}")
MANY = (
    "base",
    "full: {learning_rate: [1e-5, 1e-4]}",
    "lora: {rank: [4, 8, 16, 32], alpha: 32, learning_rate: 2e-3}",
    "dora: {rank: [8, 16]}",
    "qlora",
    "prefix: {num_virtual_tokens: [4, 16]}",
    "prompt: {num_virtual_tokens: [8, 20, 50]}",
)
METRICS = ("perplexity", "bleu", "chrf", "exact_match")


def study_of(
    methods: Sequence[str] = SMALL, metrics: Sequence[str] = METRICS, seeds: Sequence[int] = (0, 1), more: str = ""
) -> str:
    """A study file."""
    listed = "\n".join(f"  - {method}" for method in methods)
    return (
        f"name: made\ntask: cldr-spanish\nmodels: ./model\nmethods:\n{listed}\nprecision: bf16\n"
        f"training: {{epochs: 2, batch_size: 4, max_length: 128}}\n"
        f"evaluate: [{', '.join(metrics)}]\nseeds: {list(seeds)}\n{more}"
    )


def specs_of(folder: Path, text: str) -> list[RunSpec]:
    """The runs of a study file."""
    folder.mkdir(parents=True, exist_ok=True)
    return runs_of(folder, text)


def score(value: float | None, metric, spread: float | None = None, **more) -> MetricValue:
    """A score, ``spread`` to both ends of its interval; without ends where that is None."""
    known = spread is not None and value is not None
    return MetricValue(
        value=value,
        low=value - spread if known else None,
        high=value + spread if known else None,
        n=100,
        unit=metric.unit,
        higher_is_better=metric.higher_is_better,
        version=metric.version,
        interval="percentile bootstrap" if known else "none",
        **more,
    )


def record_of(spec: RunSpec, place: int, chance: np.random.Generator) -> RunRecord:
    """A run that went well; ``place`` of its method among all: later ones are better and dearer."""
    phases = {
        "load": PhaseCost(seconds=2, peak_bytes=300 * MIB, memory="counted"),
        "evaluate": PhaseCost(seconds=4, peak_bytes=900 * MIB, memory="counted"),
        "generate": PhaseCost(seconds=9, peak_bytes=940 * MIB, memory="counted"),
    }
    peak = (900 + 160 * place) * MIB
    if spec.method.trains:
        phases["train"] = PhaseCost(
            seconds=40 + 9 * place + chance.random(), peak_bytes=peak + int(chance.integers(9)) * MIB, memory="counted"
        )
    terms = {
        "weights": 270 * MIB,
        "gradients": 30 * place * MIB,
        "optimizer": 60 * place * MIB,
        "activations": 90 * MIB,
        "logits": 44 * MIB,
        "runtime": 540 * MIB,
    }
    planned = {"train": PlannedPhase(peak_bytes=sum(terms.values()), seconds=45.0, terms=terms)}
    values = {
        name: score(_value(metric, place, chance), metric, 0.6 + 0.1 * chance.random())
        for name, metric in metrics_of(spec).items()
    }
    return RunRecord(
        run_id=spec.run_id,
        study=spec.study,
        status="ok",
        spec=spec,
        metrics=values,
        phases=phases,
        throughput=Throughput(train_tokens_per_second=900.0 if spec.method.trains else None),
        parameters=Parameters(total=135_000_000, trainable=2_000_000 * place),
        plan=Plan(
            peak_bytes=1400 * MIB,
            budget_bytes=1500 * MIB,
            seconds=60.0,
            reason=None,
            phases=planned if spec.method.trains else {},
        ),
        selection=Selection(best_epoch=2, validation_losses=(2.1, 1.9), rule="lowest") if spec.method.trains else None,
        leakage=Leakage(test_in_train=0, validation_in_train=0),
    )


def _value(metric, place: int, chance: np.random.Generator) -> float:
    way = -1 if metric.higher_is_better is False else 1
    return float(20 + way * (0.6 * place + chance.normal(0, 0.4)))


def write_files(folder: RunFolder, record: RunRecord, chance: np.random.Generator, items: int = 60) -> None:
    """The curve, and a line an item of every metric."""
    folder.path.mkdir(parents=True, exist_ok=True)
    if record.spec.method.trains:
        lines = [
            {"step": step, "epoch": 1 + step // 201, "loss": 1.5 + 2.5 * np.exp(-step / 60) + chance.normal(0, 0.15)}
            for step in range(1, 401)
        ]
        write_lines(folder.curve, lines)
    for name, metric in metrics_of(record.spec).items():
        benchmark = metric.needs == "benchmark"
        rows = [
            {
                "id": f"part-{item % 5}/{item}" if benchmark else f"item-{item}",
                "prompt_hash": "h",
                "output": "palabra " * int(chance.integers(1, 6)) if metric.needs == "generation" else None,
                "reference": "palabra " * 3,
                "scores": dict.fromkeys(metric.statistics, 1.0) | {metric.statistics[0]: float(chance.integers(0, 2))},
                "tokens": int(chance.integers(2, 14)),
                "stopped": bool(chance.random() < 0.9) if metric.needs == "generation" else None,
            }
            for item in range(items)
        ]
        write_lines(folder.examples(name), rows)


def write_lines(path: Path, rows) -> None:
    """JSON Lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def report_of(
    folder: Path, specs: Sequence[RunSpec], failed: Sequence[str] = (), files: bool = True, **change
) -> Report:
    """A report of runs of which those with these ids failed.

    Args:
        change: by name of a record's part, what it is instead, in every record.
    """
    chance = np.random.default_rng(7)
    cells = list(dict.fromkeys(spec.cell for spec in specs))
    entries = []
    for spec in specs:
        record = record_of(spec, cells.index(spec.cell), chance).model_copy(update=change)
        where = RunFolder(folder / spec.run_id)
        if spec.run_id in failed:
            error = ErrorInfo(phase="train", kind="MemoryError", message="no room")
            record = RunRecord(run_id=spec.run_id, study=spec.study, status="out_of_memory", error=error, spec=spec)
        elif files:
            write_files(where, record, chance)
        entries.append(Entry(spec, where, record))
    return assembled(entries)


def assembled(entries: Sequence[Entry]) -> Report:
    """Rows and comparisons from the values of records, with intervals of a made-up width."""
    known = {name: metric for entry in entries for name, metric in metrics_of(entry.spec).items()}
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.spec.cell, []).append(entry)
    base = next((entry for entry in entries if not entry.spec.method.trains and entry.ok), None)
    rows, wholes = [], []
    for group in groups.values():
        rows += [_row([entry], base, False) for entry in group]
        good = [entry for entry in group if entry.ok]
        if good:
            wholes.append(_row(good, base, len(group) > 1))
            rows += wholes[-1:] if len(group) > 1 else []
    trained = [row for row in wholes if row.spec.method.trains]
    pairs = [(AGAINST_BASE, row, Row((base,), False, base.record.metrics)) for row in trained if base]
    pairs += [(AMONG_METHODS, one, other) for place, one in enumerate(trained) for other in trained[place + 1 :]]
    comparisons = [
        _comparison(family, name, one, other, known[name])
        for family, one, other in pairs
        for name in known
        if all(name in row.values and row.values[name].value is not None for row in (one, other))
    ]
    return Report("made", tuple(entries), tuple(known), tuple(rows), tuple(comparisons), ("A note.",), known)


def _row(entries: Sequence[Entry], base: Entry | None, mean: bool) -> Row:
    records = [entry.record for entry in entries]
    values, gains = {}, {}
    for name, single in records[0].metrics.items():
        numbers = [record.metrics[name].value for record in records]
        value = None if None in numbers else float(np.mean(numbers))
        values[name] = single.model_copy(
            update={
                "value": value,
                "low": None if single.low is None else value - 0.6,
                "high": None if single.high is None else value + 0.6,
                **({"per_label": None} if mean else {}),
            }
        )
        if base and entries[0].spec.method.trains and value is not None and base.record.metrics[name].value is not None:
            gain = value - base.record.metrics[name].value
            gains[name] = Gain(gain, gain - 0.7, gain + 0.7)
    return Row(tuple(entries), mean, values, gains)


def _comparison(family: str, name: str, one: Row, other: Row, metric) -> Comparison:
    gain = (one.values[name].value or 0.0) - (other.values[name].value or 0.0)
    shown = abs(gain) > 0.7
    verdict = "no difference shown"
    if shown and metric.higher_is_better is None:
        verdict = "higher" if gain > 0 else "lower"
    elif shown:
        verdict = "better" if (gain > 0) == metric.higher_is_better else "worse"
    return Comparison(
        family=family,
        metric=name,
        a=one.spec.cell,
        b=other.spec.cell,
        n=100,
        difference=gain,
        low=gain - 0.7,
        high=gain + 0.7,
        p=0.001 if shown else 0.4,
        p_adjusted=0.01 if shown else 0.8,
        verdict=verdict,
        a_runs=tuple(entry.spec.run_id for entry in one.entries),
        b_runs=tuple(entry.spec.run_id for entry in other.entries),
        test="approximate randomisation",
        interval="paired bootstrap",
        seeds=len(one.entries),
        about="other seeds too" if len(one.entries) > 1 else "these runs",
    )


def with_labels(report: Report, labels: Sequence[str]) -> Report:
    """Every run's first metric has a table of labels."""
    chance = np.random.default_rng(3)
    entries = []
    for entry in report.entries:
        if not entry.ok:
            entries.append(entry)
            continue
        name, value = next(iter(entry.record.metrics.items()))
        table = {
            label: LabelScores(precision=0.5, recall=0.5, f1=float(chance.random()), support=10 + place)
            for place, label in enumerate(labels)
        }
        metrics = {**entry.record.metrics, name: value.model_copy(update={"per_label": table})}
        record = entry.record.model_copy(update={"metrics": metrics})
        entries.append(Entry(entry.spec, entry.folder, record))
    return assembled(entries)


def with_benchmark(specs: Sequence[RunSpec], name: str = "exams") -> list[RunSpec]:
    """The same runs, scored on a benchmark of several tasks too."""
    number = BenchmarkScore(
        name=f"{name}.acc", metric="acc", filter="none", aggregation="mean", higher_is_better=True, proportion=True
    )
    choice = BenchmarkChoice(
        name=name, source=name, asked=BenchmarkRef(benchmark=name), tasks=(), scores=(number,), fingerprint=name
    )
    return [spec.model_copy(update={"benchmarks": (choice,)}) for spec in specs]


def leaking() -> Leakage:
    """A leak of every kind."""
    return Leakage(
        test_in_train=5,
        test_in_validation=1,
        validation_in_train=2,
        overlaps=(
            Overlap(between=("train", "test"), kind="exact", pairs=2, ids=("a", "b")),
            Overlap(between=("train", "test"), kind="near", pairs=3, ids=("c", "d", "e")),
            Overlap(between=("validation", "test"), kind="normalised", pairs=1, ids=("a",)),
            Overlap(between=("train", "validation"), kind="exact", pairs=2, ids=("v", "w")),
            Overlap(between=("train", "train"), kind="normalised", pairs=None, ids=(), reason="too many"),
        ),
        duplicates=7,
        reason=None,
    )
