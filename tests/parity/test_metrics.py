"""Our formulas against sacrebleu's own corpus scores."""

import math

import numpy as np
import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st

from fairtune.evaluate.metrics import METRICS, Outcome

METRICS_OF_LIKELIHOOD = ("cross_entropy", "perplexity")

text = st.lists(st.sampled_from(["el", "la", "lunes", "de", "3", "España,", "niño", "."]), max_size=9).map(" ".join)
pairs = st.lists(st.tuples(text, text.filter(bool)), min_size=1, max_size=6)


def corpus(name, made):
    metric = METRICS[name]
    items = [metric.item(Outcome(str(n), "", reference, output=output)) for n, (output, reference) in enumerate(made)]
    return float(metric.aggregate(np.array(items).sum(axis=0)))


@given(pairs)
def test_bleu_is_sacrebleus_corpus_bleu(made):
    theirs = sacrebleu.corpus_bleu([a for a, _ in made], [[b for _, b in made]]).score
    assert corpus("bleu", made) == pytest.approx(theirs, abs=1e-6)


@given(pairs)
def test_chrf_is_sacrebleus_corpus_chrf(made):
    theirs = sacrebleu.corpus_chrf([a for a, _ in made], [[b for _, b in made]]).score
    assert corpus("chrf", made) == pytest.approx(theirs, abs=1e-6)


def test_many_resampled_corpora_are_scored_as_one_by_one():
    random = np.random.default_rng(0)
    for name in ("bleu", "chrf"):
        metric = METRICS[name]
        made = [
            ("el niño come pan", "el niño come el pan"),
            ("la casa", "la casa azul"),
            ("", "lunes"),
            ("x y z w v", "x y z w v"),
        ]
        items = np.array([metric.item(Outcome(str(n), "", r, output=o)) for n, (o, r) in enumerate(made)])
        sums = random.integers(0, 4, size=(50, len(made))) @ items
        assert np.allclose(metric.aggregate(sums), [float(metric.aggregate(row)) for row in sums])


def test_perplexity_is_the_exponential_of_the_mean_over_tokens_not_over_items():
    metric = METRICS["perplexity"]
    items = [
        metric.item(Outcome("a", "", "", loss=2.0, loss_tokens=1)),
        metric.item(Outcome("b", "", "", loss=9.0, loss_tokens=9)),
    ]
    assert float(metric.aggregate(np.sum(items, axis=0))) == pytest.approx(math.exp(11 / 10))


def test_cross_entropy_is_the_mean_over_tokens_and_the_logarithm_of_perplexity():
    made = [Outcome("a", "", "", loss=2.0, loss_tokens=1), Outcome("b", "", "", loss=9.0, loss_tokens=9)]
    sums = {name: np.sum([METRICS[name].item(outcome) for outcome in made], axis=0) for name in METRICS_OF_LIKELIHOOD}
    found = {name: float(METRICS[name].aggregate(sums[name])) for name in METRICS_OF_LIKELIHOOD}
    assert found["cross_entropy"] == pytest.approx(11 / 10)
    assert found["cross_entropy"] == pytest.approx(math.log(found["perplexity"]))
    with pytest.raises(ValueError, match="item a has no likelihood"):
        METRICS["cross_entropy"].item(Outcome("a", "", ""))


def test_exact_match_forgives_only_white_space_at_the_ends():
    metric = METRICS["exact_match"]
    hits = [
        metric.item(Outcome("", "", "Perú", output=output))[0] for output in ("Perú", " Perú\n", "perú", "Peru", "")
    ]
    assert hits == [1, 1, 0, 0, 0]


@pytest.mark.parametrize("name", ["bleu", "chrf", "exact_match"])
def test_text_metrics_refuse_what_was_not_generated(name):
    with pytest.raises(ValueError, match="no generated answer"):
        METRICS[name].item(Outcome("a", "", "x", loss=1.0, loss_tokens=1))


def test_signatures_name_library_and_settings():
    assert f"version:{sacrebleu.__version__}" in METRICS["bleu"].signature()
    assert "tok:13a" in METRICS["bleu"].signature()
    assert "nc:6" in METRICS["chrf"].signature()
