"""Paired tests and intervals of BLEU and chrF against sacrebleu's own.

sacrebleu's example, the systems of WMT17, is a binary file of its repository that no package holds; these are outputs
of three made-up systems, from careful to careless, over the shipped task's Spanish.
"""

import functools

import numpy as np
import pytest
from sacrebleu.metrics import BLEU, CHRF
from sacrebleu.significance import PairedTest

from fairtune.data import load_splits
from fairtune.evaluate.metrics import METRICS, Outcome
from fairtune.stats import Scores, difference_of, randomisation
from fairtune.study import load_task
from fairtune.tasks import TASKS

TRIALS = 4000
PEERS = {"bleu": BLEU, "chrf": CHRF}


@functools.cache
def references():
    path = TASKS["cldr-spanish"]
    return [example.answer for example in load_splits(load_task(path), path.parent).test][:120]


def system(seed, careless):
    """Every word is left out, or said twice, with this chance."""
    random = np.random.default_rng(seed)

    def written(text):
        words = text.split()
        times = np.select([(draws := random.random(len(words))) < careless / 2, draws < careless], [0, 2], 1)
        return " ".join(np.repeat(words, times)) or "nada"

    return [written(text) for text in references()]


SYSTEMS = {"careful": (1, 0.15), "alike": (2, 0.17), "careless": (3, 0.3)}


def scores(name, outputs):
    metric = METRICS[name]
    texts = zip(outputs, references(), strict=True)
    made = [Outcome(str(n), "", reference, output=output) for n, (output, reference) in enumerate(texts)]
    return Scores(np.array([[metric.item(outcome) for outcome in made]]), metric.aggregate)


@functools.cache
def theirs(kind):
    """By system and metric: score, p-value and half of an interval, against the careful one."""
    named = [(name, system(*made)) for name, made in SYSTEMS.items()]
    metrics = {name: peer(references=[references()]) for name, peer in PEERS.items()}
    _, results = PairedTest(named, metrics, references=None, test_type=kind, n_samples=TRIALS)()
    (_, names), *columns = results.items()
    return {
        (name.removeprefix("Baseline: "), key.split()[0].lower().removesuffix("2")): found
        for key, column in columns
        for name, found in zip(names, column, strict=True)
    }


@pytest.mark.parametrize("metric", PEERS)
@pytest.mark.parametrize("name", ["alike", "careless"])
def test_approximate_randomisation_is_sacrebleus(name, metric):
    ours, base = (scores(metric, system(*SYSTEMS[which])) for which in (name, "careful"))
    known = theirs("ar")[name, metric]
    assert ours.value == pytest.approx(known.score, abs=1e-6)
    found = randomisation(ours.units, base.units, ours.aggregate, most=TRIALS).p
    error = np.sqrt(2 * known.p_value * (1 - known.p_value) / TRIALS) + 1 / TRIALS
    # Ours stops early where p is large, and is known to 7 % there.
    assert found == pytest.approx(known.p_value, abs=4 * error + 0.2 * known.p_value)


@pytest.mark.parametrize("metric", PEERS)
def test_what_the_paired_bootstrap_shows_our_interval_shows(metric):
    for name in ("alike", "careless"):
        ours, base = (scores(metric, system(*SYSTEMS[which])) for which in (name, "careful"))
        found = difference_of(ours, base).runs
        known = theirs("bs")[name, metric]
        assert (found.high < 0 or found.low > 0) == (known.p_value < 0.05)
