"""What a report says of two runs whose scores differ."""

import numpy as np
import pytest

from fairtune.evaluate.metrics import Outcome, metrics_of
from fairtune.execute.results import score
from fairtune.records import MetricValue, RunFolder, RunRecord, write_lines
from fairtune.report import FORMATS, Entry, collect
from fairtune.study import BenchmarkChoice, BenchmarkRef, BenchmarkScore
from tests.unit.test_study import runs_of

STUDY = """
name: s
task: cldr-spanish
models: ./model
methods: [base, full]
evaluate: [answer_length, exact_match, ter]
"""


def entry(spec, folder, outputs):
    outcomes = [
        Outcome(str(n), "", "a b", output=said, output_tokens=len(said.split()), stopped=True)
        for n, said in enumerate(outputs)
    ]
    run = RunFolder(folder / spec.run_id)
    run.examples("x").parent.mkdir(parents=True)
    metrics = score(spec, outcomes, run, "generation")
    record = RunRecord(run_id=spec.run_id, study=spec.study, status="ok", spec=spec, metrics=metrics)
    return Entry(spec, run, record)


@pytest.mark.parametrize(("said", "verdict"), [("a b c", "higher"), ("b", "lower"), ("a b", "no difference shown")])
def test_where_neither_way_is_better_a_difference_is_only_higher_or_lower(tmp_path, said, verdict):
    base, full = runs_of(tmp_path, STUDY)
    report = collect("s", [entry(base, tmp_path, ["a b"] * 40), entry(full, tmp_path, [said] * 40)])
    found = {comparison.metric: comparison.verdict for comparison in report.comparisons}
    assert found["answer_length"] == verdict
    other = "no difference shown" if said == "a b" else "worse"
    assert (found["exact_match"], found["ter"]) == (other, other)
    text = FORMATS["md"](report)
    assert "| answer_length | exact_match ↑ | ter ↓ |" in text
    assert ({"higher": "△", "lower": "▽"}.get(verdict, "≈")) in text


def test_the_report_knows_the_metrics_of_its_runs(tmp_path):
    specs = runs_of(tmp_path, STUDY)
    report = collect("s", [entry(spec, tmp_path, ["a b", "c", "a"]) for spec in specs])
    assert tuple(report.known) == report.metrics == ("answer_length", "exact_match", "ter")
    assert list(metrics_of(specs[0])) == list(report.known)
    length = report.known["answer_length"]
    assert float(length.aggregate(np.array([6.0, 3.0]))) == 2


@pytest.mark.parametrize(("interval", "compared"), [("Wilson score interval", 1), ("none", 0)])
def test_a_benchmark_whose_items_do_not_give_its_number_is_not_compared(tmp_path, interval, compared):
    score = BenchmarkScore(name="arc.acc", metric="acc", filter="none", aggregation="mean", higher_is_better=True)
    asked = BenchmarkRef(benchmark="arc")
    choice = BenchmarkChoice(name="arc", source="arc", asked=asked, tasks=(), scores=(score,), fingerprint="arc")
    number = {"n": 9, "unit": "", "higher_is_better": True, "version": 1, "low": None, "high": None}
    entries = []
    for asked_for, hit in zip(runs_of(tmp_path, STUDY), (0, 1), strict=True):
        spec = asked_for.model_copy(update={"benchmarks": (choice,), "metrics": ()})
        run = RunFolder(tmp_path / spec.run_id)
        lines = [{"id": str(at), "prompt_hash": "", "scores": {"value": hit, "weight": 1}} for at in range(9)]
        write_lines(run.examples("arc.acc"), lines)
        metrics = {"arc.acc": MetricValue(value=0.5, interval=interval, **number)}
        record = RunRecord(run_id=spec.run_id, study=spec.study, status="ok", spec=spec, metrics=metrics)
        entries.append(Entry(spec, run, record))
    report = collect("s", entries)
    assert len(report.comparisons) == compared
    assert all(row.values["arc.acc"].value == 0.5 for row in report.rows)
