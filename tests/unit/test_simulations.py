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


KINDS = {
    "normal": lambda random, shape: random.normal(size=shape),
    "skewed": lambda random, shape: random.exponential(size=shape),
    "many zeros": lambda random, shape: np.where(random.random(shape) < 0.3, 0, random.beta(0.6, 2.5, shape)),
    "shares": lambda random, shape: (random.random(shape) < 0.2).astype(float),
}
TRUE = {"normal": 0.0, "skewed": 1.0, "many zeros": 0.7 * 0.6 / 3.1, "shares": 0.2}


def coverage(draw, true, items, draws, aggregate, proportion=False):
    """Share of intervals that hold the true value."""
    inside = 0
    for _ in range(draws):
        found = estimate(Scores(draw(items)[None], aggregate, proportion))
        inside += found.low <= true <= found.high
    return inside / draws


@pytest.mark.parametrize("items", [50, 200, 1000])
@pytest.mark.parametrize("kind", KINDS)
def test_an_interval_of_a_mean_holds_the_truth_19_times_in_20(kind, items):
    random, draws = np.random.default_rng(items), 200 if items == 1000 else 400
    found = coverage(
        lambda count: np.stack([KINDS[kind](random, count), np.ones(count)], axis=-1),
        TRUE[kind],
        items,
        draws,
        mean,
        proportion=kind == "shares",
    )
    slack = 3 * np.sqrt(0.05 * 0.95 / draws)
    assert 0.95 - slack <= found <= 0.95 + slack
