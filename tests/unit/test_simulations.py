"""What statistics promise, tried on studies whose truth is known.

Each test draws everything from a fixed seed, so it passes or fails always alike. Limits are those of the promise plus
what as many draws leave open: three standard errors of a share.
"""

import numpy as np
import pytest

from fairtune.report.comparisons import AGAINST_BASE, AMONG_METHODS, adjusted_in_families
from fairtune.stats import Scores, estimate, evidence, interval_between

LEVEL = 0.05


def mean(sums):
    return sums[..., 0] / sums[..., 1]


def f1(sums):
    with np.errstate(invalid="ignore"):
        return 2 * sums[..., 0] / (2 * sums[..., 0] + sums[..., 1])


def at_most(share, draws):
    """A share that is truly this is below it with a chance of 99.87 %."""
    return share + 3 * np.sqrt(share * (1 - share) / draws)


def right_or_wrong(random, chance):
    """A share of items; ``chance``: ``(runs, items)``."""
    hits = (random.random(chance.shape) < chance).astype(float)
    return Scores(np.stack([hits, np.ones_like(hits)], axis=-1), mean, proportion=True)


def corpus(random, chance):
    """A score of counts summed over items of various lengths."""
    length = random.integers(1, 9, chance.shape[1])
    right = random.binomial(length, chance)
    return Scores(np.stack([right, 2 * (length - right)], axis=-1).astype(float), f1)


def study(random, items, methods, seeds, luck):
    """Untouched model and methods of which none is better: every run is as good as the others but for its luck."""
    easy = random.beta(1.0, 1.0, items)
    found = []
    for runs in (1, *[seeds] * methods):
        fate = luck * random.normal(size=(runs, 1)) if runs > 1 or luck == 0 else np.zeros((1, 1))
        chance = 1 / (1 + np.exp(-(np.log(easy / (1 - easy)) + fate)))
        found.append([kind(random, chance) for kind in (right_or_wrong, corpus)])
    return found


def claims(sides, seeded):
    """Adjusted p-values of every comparison of a study, as its report has them: for these runs, and for others."""
    families, runs, others = [], [], []
    for a in range(1, len(sides)):
        for b in range(a):
            for ours, theirs in zip(sides[a], sides[b], strict=True):
                found = evidence(ours, theirs, (seeded, seeded and b > 0))
                families.append(AMONG_METHODS if b else AGAINST_BASE)
                runs.append(found.runs.p)
                others.append(found.p_method)
    return adjusted_in_families(families, runs), adjusted_in_families(families, others)


def test_of_2000_studies_in_which_nothing_is_better_at_most_5_percent_say_so():
    """Three methods, two metrics, twelve comparisons a study; runs that are alike but for what they say by chance."""
    random, studies = np.random.default_rng(0), 2000
    false = sum(min(claims(study(random, 30, 3, 1, luck=0), False)[0]) < LEVEL for _ in range(studies))
    assert 0 < false / studies <= at_most(LEVEL, studies)


@pytest.mark.parametrize(("seeds", "luck"), [(2, 0.5), (3, 2.0), (5, 0.2)])
def test_methods_that_differ_by_the_luck_of_their_seeds_are_not_told_to_be_better(seeds, luck):
    random, studies = np.random.default_rng(1), 200
    found = [claims(study(random, 40, 2, seeds, luck), True) for _ in range(studies)]
    others = np.mean([min(p) < LEVEL for _, p in found])
    assert others <= at_most(LEVEL, studies)
    if luck >= 2:  # of these very runs it is true, and said of them
        assert np.mean([min(p) < LEVEL for p, _ in found]) > 0.2


@pytest.mark.parametrize("items", [50, 200])
def test_the_interval_of_a_difference_holds_where_runs_agree_on_most_items(items):
    """A bootstrap misses the few items on which they do not, and covers 82 % with 50 of them."""
    random, draws, inside = np.random.default_rng(2), 600, 0
    for _ in range(draws):
        gap = np.where(random.random(items) < 0.12, random.normal(0, 0.4, items), 0.0)
        both = [Scores(np.stack([side, np.ones(items)], axis=-1)[None], mean) for side in (0.5 + gap, 0.5 + 0 * gap)]
        interval, _ = interval_between(*both)
        inside += interval is None or interval.low <= 0 <= interval.high
    assert 0.95 - 3 * np.sqrt(0.05 * 0.95 / draws) <= inside / draws <= 0.99


def means(draw):
    """Of values, a plain mean."""
    return lambda random, items: np.stack([draw(random, items), np.ones(items)], axis=-1)


def losses(random, items):
    """Answers of unequal length, each at a rate of its own: perplexity."""
    tokens = random.geometric(1 / 12, items) + 1.0
    return np.stack([random.gamma(2.0, 0.6, items) * tokens, tokens], axis=-1)


def labels(random, items):
    """Counts of right, wrong and missed for three labels: macro F1."""
    truth, said = random.integers(0, 3, items), random.integers(0, 3, items)
    said = np.where(random.random(items) < 0.6, truth, said)
    kinds = [((truth == one) & (said == one), truth != one, said == one) for one in range(3)]
    return np.stack([part for tp, no, yes in kinds for part in (tp, no & yes, ~no & ~yes)], axis=-1).astype(float)


def macro(sums):
    hits, others = 2 * sums[..., 0::3], sums[..., 1::3] + sums[..., 2::3]
    return np.mean(hits / np.maximum(hits + others, 1), axis=-1)


KINDS = {
    "normal": (means(lambda random, items: random.normal(size=items)), mean),
    "skewed": (means(lambda random, items: random.exponential(size=items)), mean),
    "many zeros": (means(lambda random, n: np.where(random.random(n) < 0.3, 0, random.beta(0.6, 2.5, n))), mean),
    "shares": (means(lambda random, items: (random.random(items) < 0.2).astype(float)), mean),
    "perplexity": (losses, lambda sums: np.exp(mean(sums))),
    "macro F1": (labels, macro),
}
DRAWS = {50: 800, 200: 600, 1000: 500}


@pytest.mark.parametrize("items", DRAWS)
@pytest.mark.parametrize("kind", KINDS)
def test_an_interval_of_95_percent_holds_the_truth_in_93_to_97(kind, items):
    (draw, aggregate), random = KINDS[kind], np.random.default_rng(items)
    true = float(aggregate(draw(np.random.default_rng(0), 2_000_000).sum(axis=0)))
    inside = 0
    for _ in range(DRAWS[items]):
        found = estimate(Scores(draw(random, items)[None], aggregate, kind == "shares"))
        inside += found.low <= true <= found.high
    error = np.sqrt(0.05 * 0.95 / DRAWS[items])
    assert 0.93 - error <= inside / DRAWS[items] <= 0.97 + error
