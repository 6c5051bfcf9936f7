import numpy as np
import pytest
from scipy import stats as scipy_stats

from fairtune.stats import bootstrap_interval, estimate, holm, paired_difference, value_of, wilson_interval


def mean(sums):
    return sums[..., 0] / sums[..., 1]


def table(values):
    """``(1, items, 2)`` statistics of a plain mean."""
    values = np.asarray(values, dtype=float)
    return np.stack([values, np.ones_like(values)], axis=-1)[None]


@pytest.mark.parametrize(("hits", "items"), [(0, 20), (20, 20), (7, 50), (1, 200)])
def test_wilson_agrees_with_scipy(hits, items):
    theirs = scipy_stats.binomtest(hits, items).proportion_ci(method="wilson")
    ours = wilson_interval(hits / items, items)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_the_bootstrap_of_a_mean_agrees_with_its_standard_error():
    values = np.random.default_rng(0).normal(3.0, 2.0, size=400)
    found = bootstrap_interval(table(values), mean)
    error = values.std() / np.sqrt(400)
    assert found.low == pytest.approx(values.mean() - 1.96 * error, abs=0.1 * error * 2)
    assert found.high == pytest.approx(values.mean() + 1.96 * error, abs=0.1 * error * 2)


def test_the_bootstrap_agrees_with_scipys_on_a_ratio_of_sums():
    random = np.random.default_rng(1)
    losses, tokens = random.gamma(2.0, 3.0, 150), random.integers(3, 20, 150).astype(float)
    ours = bootstrap_interval(np.stack([losses, tokens], axis=-1)[None], mean)
    theirs = scipy_stats.bootstrap(
        (losses, tokens),
        lambda x, y, axis: x.sum(axis=axis) / y.sum(axis=axis),
        paired=True,
        vectorized=True,
        method="percentile",
        rng=np.random.default_rng(2),
    ).confidence_interval
    width = theirs.high - theirs.low
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.06 * width)


def test_intervals_are_the_same_every_time_and_several_runs_share_their_items():
    values = np.random.default_rng(3).normal(size=60)
    assert bootstrap_interval(table(values), mean) == bootstrap_interval(table(values), mean)
    twice = np.concatenate([table(values), table(values)])
    once, both = bootstrap_interval(table(values), mean), bootstrap_interval(twice, mean)
    assert (both.low, both.high) == pytest.approx((once.low, once.high), rel=1e-12)
    assert value_of(twice, mean) == pytest.approx(values.mean())


def test_a_proportion_gets_an_interval_with_width_even_when_nothing_is_right():
    found = estimate(table(np.zeros(50)), mean, proportion=True)
    assert (found.value, found.low) == (0.0, 0.0)
    assert found.high > 0.05


def test_a_single_item_and_a_value_that_is_not_finite_have_no_interval():
    single = estimate(table([3.0]), mean, proportion=False)
    assert (single.value, single.low, single.high) == (3.0, None, None)
    assert "1 item says nothing" in single.reason
    flat = estimate(table(np.zeros(20)), mean, proportion=False)
    assert (flat.value, flat.low, flat.high) == (0.0, None, None)
    assert "every resample of the items gives the same value" in flat.reason
    broken = estimate(table([1.0, float("nan")]), mean, proportion=False)
    assert broken.value is None
    assert broken.reason == "the value is nan"


def test_coverage_of_the_bootstrap_interval_is_what_it_says():
    random = np.random.default_rng(4)
    inside = 0
    for _ in range(200):
        found = bootstrap_interval(table(random.normal(size=100)), mean)
        inside += found.low <= 0.0 <= found.high
    assert 0.90 <= inside / 200 <= 0.99


def test_pairing_finds_a_small_difference_that_unpaired_intervals_hide():
    random = np.random.default_rng(5)
    items = random.normal(0.0, 5.0, 200)
    ours, theirs = table(items + 0.5 + random.normal(0, 0.5, 200)), table(items)
    found = paired_difference(ours, theirs, mean)
    assert found.p < 0.01
    assert 0.4 < found.low < found.difference < found.high < 0.6
    assert bootstrap_interval(ours, mean).low < bootstrap_interval(theirs, mean).high


def test_the_p_value_agrees_with_scipys_sign_flips():
    random = np.random.default_rng(6)
    a, b = random.normal(0.2, 1.0, 40), random.normal(0.0, 1.0, 40)
    theirs = scipy_stats.permutation_test(
        (a, b), lambda x, y, axis: np.mean(x - y, axis=axis), permutation_type="samples", vectorized=True, rng=7
    ).pvalue
    assert paired_difference(table(a), table(b), mean).p == pytest.approx(theirs, abs=0.04)


def test_equal_runs_show_no_difference():
    values = table(np.random.default_rng(8).normal(size=30))
    found = paired_difference(values, values, mean)
    assert (found.difference, found.low, found.high, found.p) == (0.0, 0.0, 0.0, 1.0)


def test_false_alarms_stay_at_five_percent():
    random = np.random.default_rng(9)
    false = sum(
        paired_difference(table(random.normal(size=50)), table(random.normal(size=50)), mean).p < 0.05
        for _ in range(200)
    )
    assert false / 200 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)


def test_runs_over_other_items_are_refused():
    with pytest.raises(ValueError, match="items and statistics differ"):
        paired_difference(table(np.zeros(3)), table(np.zeros(4)), mean)


def test_several_seeds_against_one_base_average_their_differences():
    base, first, second = (np.random.default_rng(seed).normal(size=80) for seed in (10, 11, 12))
    both = np.concatenate([table(first), table(second)])
    found = paired_difference(both, table(base), mean)
    assert found.difference == pytest.approx((first.mean() + second.mean()) / 2 - base.mean())


def test_holm_agrees_with_its_closed_form():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []
