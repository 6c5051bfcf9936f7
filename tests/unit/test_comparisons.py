"""What a report concludes from per-item scores: verdicts, families, two levels of certainty, two runs side by side."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fairtune.errors import RecordError, SpecError
from fairtune.evaluate.metrics import Outcome, metric_of
from fairtune.execute.results import score
from fairtune.records import MetricValue, RunFolder, RunRecord, read_lines, write_lines
from fairtune.report import Entry, collect
from fairtune.report.comparisons import AGAINST_BASE, AMONG_METHODS, adjusted_in_families
from fairtune.report.two_runs import as_json, changed_items, compare_two, sentences, table_rows
from fairtune.report.words import main_metric, story
from fairtune.stats import Scores, estimate
from tests.unit.test_study import runs_of

STUDY = """
name: made
task: cldr-spanish
models: ./model
methods: [base, full, {lora: {rank: 8}}]
evaluate: [rouge_l, exact_match]
seeds: SEEDS
"""


def specs(folder: Path, seeds=(0,)):
    folder.mkdir(parents=True, exist_ok=True)
    return runs_of(folder, STUDY.replace("SEEDS", str(list(seeds))))


def entry_of(folder: Path, spec, scores, prefix="item", version=None, status="ok", prompts="p", change=()):
    """A finished run whose items score these ``(items,)`` numbers by every metric; shares are right from 0.5 on."""
    where = RunFolder(folder / spec.run_id)
    values = {}
    for name in spec.scores:
        metric = metric_of(spec, name)
        numbers = np.where(scores > 0.5, 1.0, 0.0) if metric.proportion else scores
        statistics = np.stack([numbers, np.ones_like(numbers)], axis=-1)
        found = estimate(Scores(statistics[None], metric.aggregate, metric.proportion))
        values[name] = MetricValue(
            value=found.value,
            low=found.low,
            high=found.high,
            n=len(scores),
            unit=metric.unit,
            higher_is_better=metric.higher_is_better,
            version=version or metric.version,
            interval=found.method,
        )
        lines = [
            {
                "id": f"{prefix}-{place}",
                "prompt_hash": f"{prompts}{place}",
                "output": f"said {number:.2f}",
                "reference": f"right {place}",
                "scores": dict(zip(metric.statistics, row, strict=True)),
            }
            for place, (number, row) in enumerate(zip(numbers, statistics.tolist(), strict=True))
        ]
        write_lines(where.examples(name), lines)
    record = RunRecord(run_id=spec.run_id, study=spec.study, status=status, spec=spec, metrics=values)
    return Entry(spec, where, record)


def report(folder, gains, items=100, seeds=(0,), luck=0.0, noise=0.05, margins=None):
    """Of a study whose methods gain so much over the base, by their place."""
    random = np.random.default_rng(1)
    base = random.uniform(0.1, 0.7, items)
    made, cells = [], {}
    for spec in specs(folder, seeds):
        gain = gains[cells.setdefault(spec.method.label, len(cells))]
        fate = random.normal(0, luck) if spec.method.trains else 0.0
        made.append(entry_of(folder, spec, np.clip(base + gain + fate + random.normal(0, noise, items), 0, 1)))
    return collect("made", made, margins=margins)


def told(found, family, metric="rouge_l"):
    return [
        comparison for comparison in found.comparisons if (comparison.family, comparison.metric) == (family, metric)
    ]


def test_several_seeds_let_a_verdict_speak_of_the_method(tmp_path):
    found = report(tmp_path, [0.0, 0.2, 0.2], seeds=(0, 1, 2, 3), luck=0.01)
    full = told(found, AGAINST_BASE)[0]
    assert (full.verdict, full.about, full.seeds) == ("better", "other seeds too", 4)
    assert full.low_seeds < full.low_items < full.difference < full.high_items < full.high_seeds
    assert (full.low, full.p) == (full.low_seeds, full.p_seeds)
    assert told(found, AMONG_METHODS)[0].verdict == "no difference shown"
    assert not any("¹" in note for note in found.notes)


def test_one_seed_lets_it_speak_of_these_runs_alone(tmp_path):
    found = report(tmp_path, [0.0, 0.2, 0.2])
    full = told(found, AGAINST_BASE)[0]
    assert (full.verdict, full.about, full.p_seeds, full.seeds) == ("better", "these runs", None, 1)
    assert any("One seed cannot say whether the methods do" in note for note in found.notes)
    assert "one seed nobody can say" in story(found)[-1].text.lower()


def test_seeds_that_differ_more_than_the_methods_show_nothing_but_of_these_runs(tmp_path):
    found = report(tmp_path, [0.0, 0.05, 0.05], seeds=(0, 1), luck=0.1)
    full = told(found, AGAINST_BASE)[0]
    assert full.p_items_adjusted < 0.05 < full.p_seeds_adjusted
    assert full.about == "these runs"
    assert any("2 seeds are too few, or too different" in note for note in found.notes)


def test_where_nothing_differs_from_the_base_methods_are_not_told_apart():
    families = [AGAINST_BASE, AGAINST_BASE, AMONG_METHODS]
    assert adjusted_in_families(families, [0.4, 0.3, 0.001]) == [0.6, 0.6, 0.6]
    assert adjusted_in_families(families, [0.001, 0.3, 0.001]) == [0.002, 0.3, 0.002]
    assert adjusted_in_families([AMONG_METHODS], [0.01]) == [0.01]
    assert adjusted_in_families(families, [0.001, None, None]) == [0.002, None, None]


def test_a_p_value_that_nobody_knows_makes_no_other_smaller(tmp_path):
    """Of one method with many seeds among twenty with one, Holm must count all."""
    families = [AGAINST_BASE] * 21
    assert adjusted_in_families(families, [0.002] + [None] * 20)[0] == pytest.approx(0.042)
    found = report(tmp_path, [0.0, 0.02, 0.2], seeds=(0, 1, 2), luck=0.001)
    for one in found.comparisons:
        assert one.p_seeds_adjusted >= one.p_items_adjusted


def test_an_open_question_says_what_would_settle_it(tmp_path):
    found = told(report(tmp_path, [0.0, 0.003, 0.2], items=40), AGAINST_BASE)[0]
    assert found.verdict == "no difference shown"
    assert abs(found.difference) < found.smallest
    assert found.items_needed > 40
    assert found.seeds_needed is None


def test_no_worse_is_tested_where_the_study_says_what_may_be_lost(tmp_path):
    found = report(tmp_path, [0.0, 0.0, -0.3], margins={"rouge_l": 0.05})
    full, lora = told(found, AGAINST_BASE)
    assert (full.margin, full.verdict) == (0.05, "no difference shown")
    assert full.p_no_worse < 0.001 < 0.9 < lora.p_no_worse
    assert told(found, AGAINST_BASE, "exact_match")[0].p_no_worse is None


def test_half_a_study_a_failed_run_and_missing_files_are_told_and_cost_no_other_row(tmp_path):
    random = np.random.default_rng(2)
    base, full, lora = specs(tmp_path)
    good = entry_of(tmp_path, base, random.random(50))
    failed = entry_of(tmp_path, full, random.random(50), status="out_of_memory")
    missing = Entry(lora, RunFolder(tmp_path / lora.run_id), None)
    found = collect("made", [good, failed, missing])
    assert not found.comparisons
    assert [row.entries[0].status for row in found.rows] == ["ok", "out_of_memory", "missing"]
    texts = {paragraph.about: paragraph.text for paragraph in story(found)}
    assert texts["failed"] == "full ran out of memory. lora has not been run yet."
    lost = entry_of(tmp_path, full, random.random(50))
    lost.folder.examples("rouge_l").unlink()
    found = collect("made", [good, lost])
    assert {comparison.metric for comparison in found.comparisons} == {"exact_match"}
    assert "rouge_l.jsonl: cannot be read" in found.notes[0]


@pytest.mark.parametrize("items", [1, 2, 3])
def test_a_few_items_are_a_report_too(tmp_path, items):
    found = report(tmp_path, [0.0, 0.2, 0.1], items=items)
    assert len(found.rows) == 3
    assert len(told(found, AGAINST_BASE)) == (0 if items == 1 else 2)
    assert all(comparison.verdict == "no difference shown" for comparison in found.comparisons)
    assert story(found)


@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2)])
def test_runs_that_all_score_the_same_have_no_interval_and_say_why(tmp_path, seeds):
    made = [entry_of(tmp_path, spec, np.full(30, 0.25)) for spec in specs(tmp_path, seeds)]
    found = collect("made", made, margins={"rouge_l": 0.1, "exact_match": 0.1})
    full = told(found, AGAINST_BASE)[0]
    assert (full.difference, full.low, full.p, full.verdict) == (0.0, None, 1.0, "no difference shown")
    assert (full.smallest, full.items_needed, full.p_no_worse, full.low_seeds) == (None, None, None, None)
    assert full.reason == "every item shows the same difference"
    exact = told(found, AGAINST_BASE, "exact_match")[0]
    assert exact.low < 0 < exact.high
    assert exact.smallest > 0.1
    assert exact.p_no_worse > 0.001


def test_of_five_items_no_difference_could_be_shown_and_it_is_said(tmp_path):
    random = np.random.default_rng(4)
    base, full, _ = specs(tmp_path)
    scores = random.uniform(0.0, 0.1, 5)
    found = collect("made", [entry_of(tmp_path, base, scores), entry_of(tmp_path, full, scores + 0.6 + scores)])
    one = told(found, AGAINST_BASE)[0]
    assert one.low > 0
    assert (one.verdict, one.p, one.smallest) == ("no difference shown", 0.0625, None)
    assert one.items_needed > 5


def test_a_lost_file_does_not_hand_the_lead_to_another_method(tmp_path):
    random = np.random.default_rng(5)
    scores, made = random.random(50), []
    for spec in specs(tmp_path, (0, 1)):
        gain = {"base": 0.0, "full": 0.1}.get(spec.method.label, 0.3)
        made.append(entry_of(tmp_path, spec, np.clip(scores / 2 + gain, 0, 1)))
    made[-1].folder.examples("rouge_l").unlink()
    found = collect("made", made)
    texts = {paragraph.about: paragraph.text for paragraph in story(found)}
    assert texts["found"].startswith("By rouge_l, lora scores best: 0.5")
    mean = next(row for row in found.rows if row.mean and row.spec.method.label == "lora")
    assert (mean.values["rouge_l"].low, mean.values["rouge_l"].interval) == (None, "none")


def test_a_study_that_has_not_begun_and_one_of_a_base_alone_are_told_as_they_are(tmp_path):
    runs = specs(tmp_path, (0, 1))
    none = story(collect("made", [Entry(spec, RunFolder(tmp_path / spec.run_id), None) for spec in runs]))
    assert [paragraph.about for paragraph in none] == ["asked", "found", "failed"]
    assert "No trained run has results yet." in none[1].text
    alone = story(collect("made", [entry_of(tmp_path, runs[0], np.random.default_rng(6).random(40))]))
    assert alone[1].text.startswith("By rouge_l, base scores 0.")


def test_runs_of_before_clusters_were_kept_stand_beside_newer_ones(tmp_path):
    random = np.random.default_rng(7)
    base, full, _ = (entry_of(tmp_path, spec, random.random(48)) for spec in specs(tmp_path))
    path = full.folder.examples("rouge_l")
    lines = [{**line, "cluster": f"d{place // 4}"} for place, line in enumerate(read_lines(path))]
    write_lines(path, lines)
    assert "over 12 clusters" in told(collect("made", [base, full]), AGAINST_BASE)[0].interval


def test_the_story_names_the_best_how_sure_and_what_is_open(tmp_path):
    found = report(tmp_path, [0.0, 0.2, 0.2], seeds=(0, 1, 2, 3), luck=0.01)
    texts = {paragraph.about: paragraph.text for paragraph in story(found)}
    assert main_metric(found) == "rouge_l"
    assert texts["asked"].startswith("Which of full and lora makes ./model better at cldr-spanish, and which")
    assert "scores best" in texts["found"]
    assert "Both methods are better than the untouched model." in texts["found"]
    assert "on other items and with other seeds" in texts["found"]
    assert re.search("Between (lora and full|full and lora) no difference is shown", texts["found"])
    assert "open" not in texts


def test_items_of_one_document_or_group_are_one_in_records_and_in_comparisons(tmp_path):
    spec, other, _ = specs(tmp_path)
    random = np.random.default_rng(5)
    answers = [Outcome(f"d{n // 4}@{n}", "h", "a b", output="a b" if random.random() < 0.5 else "c") for n in range(80)]
    clustered = [replace(answer, cluster=answer.id.partition("@")[0]) for answer in answers]
    found = []
    for run, outcomes in ((spec, clustered), (other, [replace(one, output="c") for one in clustered])):
        where = RunFolder(tmp_path / run.run_id)
        values = score(run, outcomes, where, "generation")
        record = RunRecord(run_id=run.run_id, study=run.study, status="ok", spec=run, metrics=values)
        found.append(Entry(run, where, record))
    interval = found[0].record.metrics["rouge_l"]
    assert interval.interval.endswith("20 clusters drawn whole")
    assert '"cluster": "d0"' in found[0].folder.examples("rouge_l").read_text()
    compared = told(collect("made", found), AGAINST_BASE)[0]
    assert compared.interval.endswith("over 20 clusters")
    alone = score(spec, answers, RunFolder(tmp_path / "alone"), "generation")["rouge_l"]
    assert "clusters" not in alone.interval


# --- two runs ------------------------------------------------------------------------------------------------------


def two(folder, gap, items=100, **change):
    random = np.random.default_rng(3)
    base, full, _ = specs(folder)
    scores = random.uniform(0.1, 0.9, items)
    second = entry_of(folder, base, scores)
    first = entry_of(
        folder / "other machine", full, np.clip(scores + gap + random.normal(0, 0.1, items), 0, 1), **change
    )
    return first, second


def test_two_runs_are_compared_by_every_metric(tmp_path):
    found = compare_two(*two(tmp_path, 0.1))
    assert [row["metric"] for row in table_rows(found)] == ["rouge_l ↑", "exact_match ↑"]
    assert found.comparisons[0].verdict == "better"
    assert next(sentences(found)).startswith("rouge_l: full is better than base on items like these 100")
    counted, changed = changed_items(found, 3)
    assert counted.startswith("By rouge_l")
    assert len(changed) == 3
    assert abs(changed[0].gain) >= abs(changed[1].gain)


def test_a_difference_smaller_than_its_noise_is_answered_with_what_it_would_take(tmp_path):
    found = compare_two(*two(tmp_path, -0.002), margins={"rouge_l": 0.1})
    said = list(sentences(found))
    assert "no difference is shown" in said[0]
    assert "takes about" in said[0]
    assert any("full loses less than 0.100 against base (p < 0.001, one-sided)" in sentence for sentence in said)
    assert "other seeds must say" in said[-1]


def test_items_are_found_whatever_their_order_and_names(tmp_path):
    first, second = two(tmp_path, 0.1, prefix="row")
    path = first.folder.examples("rouge_l")
    path.write_text("".join(sorted(path.read_text().splitlines(keepends=True), reverse=True)))
    straight = compare_two(*two(tmp_path / "again", 0.1)).comparisons[0]
    assert compare_two(first, second).comparisons[0].difference == pytest.approx(straight.difference)


def test_other_items_are_refused_saying_how_they_differ(tmp_path):
    with pytest.raises(SpecError, match=r"first run has 80 items, the second 100, and 80 are the same; --shared"):
        compare_two(two(tmp_path, 0.1, items=80)[0], two(tmp_path / "b", 0.1)[1])
    with pytest.raises(SpecError, match=r"100 rows are the same.*in other tokens.*--match id"):
        compare_two(*two(tmp_path / "c", 0.1, prompts="other"))
    with pytest.raises(SpecError, match="scored on other data"):
        compare_two(*two(tmp_path / "d", 0.1, prompts="other", prefix="row"))


def test_shared_items_are_compared_where_asked_and_it_is_said(tmp_path):
    first, second = two(tmp_path, 0.1, items=80)[0], two(tmp_path / "b", 0.1)[1]
    found = compare_two(first, second, shared=True)
    assert found.comparisons[0].n == 80
    assert any("80 items are in both runs" in sentence for sentence in sentences(found))
    assert compare_two(*two(tmp_path / "c", 0.1, prompts="other"), by="id").comparisons[0].n == 100


def test_the_same_run_of_two_machines_is_compared_with_itself_only_where_they_agree(tmp_path):
    random = np.random.default_rng(8)
    _, full, _ = specs(tmp_path)
    scores = random.uniform(0.1, 0.9, 60)
    here, there = entry_of(tmp_path, full, scores), entry_of(tmp_path / "there", full, np.clip(scores + 0.3, 0, 1))
    found = compare_two(here, there)
    assert found.comparisons[0].verdict == "worse"
    assert found.comparisons[0].difference == pytest.approx(scores.mean() - np.clip(scores + 0.3, 0, 1).mean())
    assert found.names == ("full (A)", "full (B)")


def test_an_item_without_a_reference_is_a_damaged_file(tmp_path):
    first, second = two(tmp_path, 0.1)
    path = first.folder.examples("rouge_l")
    write_lines(path, [{key: line[key] for key in line if key != "reference"} for line in read_lines(path)])
    with pytest.raises(RecordError, match="damaged, an item lacks 'reference'"):
        compare_two(first, second)


def test_another_version_of_a_metric_is_another_number(tmp_path):
    with pytest.raises(SpecError, match=r"rouge_l: its meaning changed: version 7 of the metric, and version 1"):
        compare_two(*two(tmp_path, 0.1, version=7))


def test_what_only_one_run_has_is_left_out_with_the_reason(tmp_path):
    first, second = two(tmp_path, 0.1)
    kept = {name: value for name, value in second.record.metrics.items() if name != "exact_match"}
    other = Entry(second.spec, second.folder, second.record.model_copy(update={"metrics": kept}))
    found = compare_two(first, other)
    assert as_json(found)[-1]["reason"] == "only the first run has it"
    first.folder.examples("rouge_l").unlink()
    with pytest.raises(RecordError, match=r"rouge_l\.jsonl"):
        compare_two(first, other)
