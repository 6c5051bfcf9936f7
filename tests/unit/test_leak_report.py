"""How a leak is told beside the scores."""

from fairtune.records import BenchmarkLeakage, BenchmarkNote, Leakage, Overlap, RunRecord
from fairtune.report.leaks import leak_notes, leaked_metrics
from fairtune.study import BenchmarkChoice, BenchmarkRef, BenchmarkScore
from tests.unit.test_study import GOOD, runs_of


def record(folder, **leakage):
    spec = runs_of(folder, GOOD)[1]
    found = Leakage(**{"test_in_train": 0, "validation_in_train": 0, **leakage})
    return RunRecord(run_id=spec.run_id, study=spec.study, status="ok", spec=spec, leakage=found)


def test_clean_data_have_no_note_and_no_mark(tmp_path):
    assert leak_notes([record(tmp_path)]) == []
    assert leaked_metrics([record(tmp_path)]) == frozenset()


def test_a_leak_is_told_with_its_kinds_and_marks_every_metric(tmp_path):
    overlaps = (
        Overlap(between=("train", "test"), kind="exact", pairs=9, ids=("a", "b")),
        Overlap(between=("train", "test"), kind="near", pairs=1, ids=("c",)),
    )
    found = record(tmp_path, test_in_train=3, overlaps=overlaps, allowed=True)
    (note,) = leak_notes([found, found])
    assert note.startswith("† Leak: 3 test items are asked in training too [2 exact, 1 near], 0 in validation")
    assert "`allow_leakage: true`" in note
    assert leaked_metrics([found]) == {"perplexity", "bleu", "chrf", "exact_match"}


def test_rows_that_were_left_out_and_validation_leaks_are_told_without_a_mark(tmp_path):
    found = record(tmp_path, validation_in_train=2, left_out=5)
    assert [note[:2] for note in leak_notes([found])] == ["2 ", "5 "]
    assert leaked_metrics([found]) == frozenset()


def test_a_benchmark_that_is_trained_on_has_its_own_mark_and_sentence(tmp_path):
    choices = tuple(
        BenchmarkChoice(
            name=name,
            source=name,
            asked=BenchmarkRef(benchmark=name),
            tasks=(),
            scores=(
                BenchmarkScore(
                    name=f"{name}.acc", metric="acc", filter="none", aggregation="mean", higher_is_better=True
                ),
            ),
            fingerprint=name,
        )
        for name in ("arc", "mmlu")
    )
    leaks = BenchmarkLeakage(in_train=2, in_validation=1, ids=("arc/1", "arc/3"), kinds={"exact": 1, "near": 1})
    none = BenchmarkLeakage(in_train=0, in_validation=0, reason="there is too much")
    notes = tuple(
        BenchmarkNote(name=name, items=500, requests=1, leakage=found)
        for name, found in (("arc", leaks), ("mmlu", none))
    )
    clean = record(tmp_path)
    found = clean.model_copy(
        update={"benchmarks": notes, "spec": clean.spec.model_copy(update={"benchmarks": choices})}
    )
    assert leaked_metrics([found]) == {"arc.acc"}
    first, second = leak_notes([found, found])
    assert first.startswith(
        "† Leak: of 500 items of arc, 2 are asked in training too, 1 in validation [1 exact, 1 near]"
    )
    assert second == "Items of mmlu that nearly stand in the training data are not known: there is too much."
