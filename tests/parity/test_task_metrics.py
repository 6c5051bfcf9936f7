"""Metrics of answers, labels and text against closed forms, sacrebleu, scikit-learn and lm-evaluation-harness."""

import json
import math
import re

import numpy as np
import pytest
import sacrebleu
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st
from lm_eval.api import metrics as harness
from lm_eval.filters.extraction import RegexFilter

from fairtune.data import load_splits
from fairtune.data.shapes.labels import render
from fairtune.evaluate.metrics import METRICS, Facts, Outcome, Trial
from fairtune.study import Task

text = st.lists(st.sampled_from(["el", "la", "lunes", "de", "3", "España,", "niño", "."]), max_size=9).map(" ".join)
pairs = st.lists(st.tuples(text, text.filter(bool)), min_size=1, max_size=6)


def items_of(metric, made):
    return np.array([metric.item(Outcome(str(n), "", right, output=said)) for n, (said, right) in enumerate(made)])


def value(name, made, labels=()):
    """Of pairs of answer and reference."""
    metric = METRICS[name].with_labels(labels)
    return float(metric.aggregate(items_of(metric, made).sum(axis=0)))


def one(name, answer, reference):
    return value(name, [(answer, reference)])


def test_every_metric_says_what_it_is_and_keeps_as_many_numbers_as_it_names():
    counts = {"loss": 2.0, "loss_tokens": 3, "hits": 1, "words": 2, "bytes": 9, "output_tokens": 1, "stopped": True}
    trials = tuple(Trial("1", passed, "") for passed in [True, False] * 50)
    outcome = Outcome("a", "", '{"a": 1}', output="1", trials=trials, **counts)
    for name, plain in METRICS.items():
        metric = plain.with_labels(("1", "2"))
        assert metric.name == name
        assert metric.version >= 1
        assert all(isinstance(text, str) and text for text in (metric.unit, metric.description, metric.formula))
        found = metric.item(outcome)
        assert len(found) == len(metric.statistics) == len(set(metric.statistics))
        many = metric.aggregate(np.array([[found, found]]).sum(axis=1))
        assert many.shape == (1,)
        assert (not metric.proportion) or 0 <= float(many[0]) <= 1


@pytest.mark.parametrize("name", [name for name, metric in METRICS.items() if metric.needs == "generation"])
def test_metrics_of_answers_refuse_what_was_not_generated(name):
    with pytest.raises(ValueError, match="no generated answer"):
        METRICS[name].with_labels(("a", "b")).item(Outcome("a", "", "1", loss=1.0, loss_tokens=1))


@given(pairs)
def test_ter_is_sacrebleus_corpus_ter(made):
    theirs = sacrebleu.corpus_ter([a for a, _ in made], [[b for _, b in made]]).score
    assert value("ter", made) == pytest.approx(theirs, abs=1e-9)


def test_ter_counts_a_moved_phrase_as_one_edit_and_says_how_it_was_made():
    assert one("ter", "c d a b", "a b c d") == 25
    assert one("ter", "x", "") == 100
    assert "tok:tercom" in METRICS["ter"].signature()


def test_rouge_is_the_mean_of_f_measures():
    # Two of three words, one of two pairs; in order the two are a subsequence too.
    assert one("rouge_1", "the cat", "the cat sat") == pytest.approx(2 * 1 * (2 / 3) / (1 + 2 / 3))
    assert one("rouge_2", "the cat", "the cat sat") == pytest.approx(2 * 1 * 0.5 / 1.5)
    assert one("rouge_l", "sat the cat", "the cat sat") == pytest.approx(2 / 3)
    assert value("rouge_1", [("a b", "a b"), ("", "c")]) == 0.5
    assert METRICS["rouge_l"].signature().startswith("rougeL|tok:lower-case a-z0-9|stem:no|")


def test_token_f1_is_squads():
    # Its script: articles, case and punctuation do not count; words count as often as they are on both sides.
    assert one("token_f1", "The Broncos!", "broncos") == 1
    assert one("token_f1", "Denver Denver Broncos", "Denver Broncos") == pytest.approx(2 * (2 / 3) * 1 / (2 / 3 + 1))
    assert one("token_f1", "Carolina", "Broncos") == 0
    assert [one("token_f1", *sides) for sides in [("", "a"), ("the", ""), ("", "x"), ("x", "")]] == [1, 1, 0, 0]


@given(st.lists(st.tuples(st.floats(0.1, 50), st.integers(1, 40), st.integers(1, 300)), min_size=1, max_size=5))
def test_perplexities_of_text_are_the_harness(made):
    losses = [Outcome("", "", "", loss, 1, words=words, bytes=size) for loss, words, size in made]
    found = {
        name: float(METRICS[name].aggregate(np.sum([METRICS[name].item(each) for each in losses], axis=0)))
        for name in ("word_perplexity", "byte_perplexity", "bits_per_byte")
    }
    by_word, by_byte = ([(-loss, row[at]) for loss, *row in made] for at in (0, 1))
    assert found["word_perplexity"] == pytest.approx(harness.weighted_perplexity(by_word))
    assert found["byte_perplexity"] == pytest.approx(harness.weighted_perplexity(by_byte))
    assert found["bits_per_byte"] == pytest.approx(harness.bits_per_byte(by_byte))
    assert found["bits_per_byte"] == pytest.approx(math.log2(found["byte_perplexity"]))


LABELS = ("doubt", "fear", "smears", "slogans")
some = st.sets(st.sampled_from(LABELS)).map(sorted)


@given(st.lists(st.tuples(some, some), min_size=1, max_size=8))
def test_labels_are_scored_as_scikit_learn_scores_them(made):
    ours, theirs = ([[label in row[side] for label in LABELS] for row in made] for side in (0, 1))
    said = [(render(a, LABELS), render(b, LABELS)) for a, b in made]
    for average in ("micro", "macro"):
        right = sklearn.metrics.f1_score(theirs, ours, average=average, zero_division=0)
        assert value(f"f1_{average}", said, LABELS) == pytest.approx(right)
    assert value("accuracy", said, LABELS) == pytest.approx(sklearn.metrics.accuracy_score(theirs, ours))
    metric = METRICS["f1_macro"].with_labels(LABELS)
    report = sklearn.metrics.precision_recall_fscore_support(theirs, ours, zero_division=0)
    table = metric.by_label(items_of(metric, said).sum(axis=0))
    for place, label in enumerate(LABELS):
        assert list(table[label].values()) == pytest.approx([column[place] for column in report])


def test_a_resampled_test_set_is_scored_as_any_other():
    said = [(render(a, LABELS), render(b, LABELS)) for a, b in [(["doubt"], ["fear"]), (["fear"], ["fear"]), ([], [])]]
    metric = METRICS["f1_macro"].with_labels(LABELS)
    items, draws = items_of(metric, said), np.array([[3.0, 0, 0], [1, 1, 1], [0, 2, 1]])
    assert metric.aggregate(draws @ items) == pytest.approx([0.0, (2 / 3) / 4, 1 / 4])


def test_what_is_no_label_is_never_right_and_is_counted():
    said = [("fear", "fear"), ("fear, dread", "fear"), ("", "none"), ("none", "none"), ("It is fear.", "fear")]
    assert [one_of("accuracy", pair) for pair in said] == [1, 0, 0, 1, 0]
    assert [one_of("unparsable_labels", pair) for pair in said] == [0, 1, 1, 0, 1]
    assert value("f1_micro", said, LABELS) == pytest.approx(2 * 2 / (2 * 2 + 0 + 1))


def one_of(name, pair):
    return value(name, [pair], LABELS)


def test_always_loaded_language_scores_what_the_official_scorer_of_semeval_says(shared_data):
    folder = shared_data / "semeval2021_task6"
    task = Task(
        name="t",
        train=str(folder / "training_set_task1.txt"),
        test=str(folder / "test_set_task1.txt"),
        format="json",
        labels=str(folder / "techniques_list_task1-2.txt"),
    )
    splits = load_splits(task, folder)
    assert (len(splits.labels), len(splits.test)) == (20, 200)
    said = [("Loaded Language", example.answer) for example in splits.test]
    assert value("f1_micro", said, splits.labels) == pytest.approx(0.37383, abs=5e-6)
    assert value("f1_macro", said, splits.labels) == pytest.approx(0.03333, abs=5e-6)


HARNESS = {
    "number_match": RegexFilter(r"#### (\-?[0-9\.\,]+)"),
    "number_match_flexible": RegexFilter("(-?[$0-9.,]{2,})|(-?[0-9]+)", group_select=-1),
}
IGNORED = [",", r"\$", r"(?s).*#### ", r"\.$"]
pieces = st.sampled_from(["#### ", "####", "18", "-", "$", "1,200", ".", "3.5", " ", "\n", "eggs", "is", "18."])


@given(st.lists(pieces, max_size=8).map("".join), st.sampled_from(["18", "1200", "3.5", "-18"]))
def test_numbers_are_found_and_compared_as_the_harness_does(answer, number):
    reference = f"So it is\n#### {number}"
    for name, found in HARNESS.items():
        ((taken,),) = found.apply([[answer]], [{}])
        theirs = harness.exact_match_hf_evaluate([taken], [reference], IGNORED, ignore_case=True)["exact_match"]
        assert one(name, answer, reference) == float(theirs), (answer, number)


def test_numbers_with_and_without_the_format():
    reference = "He has 9 * 2 = 18.\n#### 1,218"
    answers = ["#### 1218", "#### 1,218.", "It is $1,218.", "1218 eggs, not 7", "#### 1218 eggs", ""]
    assert [one("number_match", answer, reference) for answer in answers] == [1, 1, 0, 0, 1, 0]
    assert [one("number_match_flexible", answer, reference) for answer in answers] == [1, 1, 1, 0, 1, 0]


def test_references_of_gsm8k_are_numbers_and_others_are_objected_to(shared_data):
    lines = (shared_data / "gsm8k" / "test.jsonl").read_text(encoding="utf-8").splitlines()
    metric = METRICS["number_match"]
    assert [metric.objection(json.loads(line)["answer"]) for line in lines] == [None] * len(lines)
    assert metric.objection("18") is None
    assert "is no number" in metric.objection("eighteen")


def test_json_is_read_whole_or_from_one_fence():
    whole = ['{"a": 1}', " [1] ", '```json\n{"a": 1}\n```', '```\n"x"\n```', "1"]
    broken = ["{'a': 1}", 'Here: {"a": 1}', '```json\n{"a": 1}', "NaN", "", '{"a": 1} {"b": 2}', "[" * 100_000]
    assert [one("json_valid", answer, "{}") for answer in whole + broken] == [1] * len(whole) + [0] * len(broken)


def test_fields_are_equal_as_json_values():
    reference = '{"name": "Ana", "age": 3, "tags": ["x", {"y": 1}], "ok": true}'
    answers = {
        '{"ok": true, "tags": ["x", {"y": 1.0}], "age": 3.0, "name": "Ana", "more": 0}': 1.0,
        '```json\n{"name": "ana", "age": "3", "tags": [{"y": 1}, "x"], "ok": 1}\n```': 0.0,
        '{"name": "Ana", "ok": true}': 0.5,
        '["Ana"]': 0.0,
        "Ana": 0.0,
    }
    assert [one("json_fields", answer, reference) for answer in answers] == list(answers.values())
    assert METRICS["json_fields"].objection(reference) is None
    objections = [METRICS["json_fields"].objection(text) for text in ("[]", "{}", "Ana")]
    assert [text.rpartition("reference is ")[2] for text in objections] == [
        *["JSON, but no object with fields"] * 2,
        "no JSON",
    ]


def test_writing_is_measured_within_each_answer():
    said = "a b c d a b c d a b c d"  # nine 4-grams, four of them different
    assert one("repetition", said, "") == pytest.approx(1 - 4 / 9)
    assert one("repetition", "a a a", "") == 0
    assert (one("distinct_1", said, ""), one("distinct_2", said, "")) == (4 / 12, 4 / 11)
    assert value("distinct_2", [("a b", ""), ("a", ""), ("a a a", "")]) == pytest.approx((1 + 0.5) / 2)
    assert math.isnan(one("distinct_2", "a", ""))
    long, short = (Outcome("", "", "", output="x", output_tokens=n, stopped=n < 5) for n in (5, 2))
    for name, expected in (("answer_length", 3.5), ("stopped", 0.5)):
        metric = METRICS[name]
        assert metric.aggregate(np.sum([metric.item(long), metric.item(short)], axis=0)) == expected
        assert metric.higher_is_better is None


@pytest.mark.parametrize(
    ("name", "facts", "words"),
    [
        ("bleu", Facts(plain_text=True), "plain text has no answers"),
        ("accuracy", Facts(), "the task has none"),
        ("f1_macro", Facts(plain_text=True), "the task has none"),
        ("word_perplexity", Facts(), "questions and answers"),
        ("repetition", Facts(labels=("a", "b"), scored=True), "`predict: score` chooses them"),
        ("perplexity", Facts(plain_text=True), None),
        ("accuracy", Facts(labels=("a", "b"), scored=True), None),
        ("bits_per_byte", Facts(plain_text=True), None),
    ],
)
def test_a_metric_says_which_tasks_it_does_not_fit(name, facts, words):
    found = METRICS[name].fits(facts)
    assert found is None if words is None else re.search(re.escape(words), found)
