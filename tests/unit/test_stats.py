"""Every interval and test against a closed form, scipy, or what its definition says."""

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from fairtune.stats import (
    Claim,
    Difference,
    Scores,
    Spread,
    bca_interval,
    clusters_of,
    difference_of,
    estimate,
    gated,
    holm,
    interval_of,
    mcnemar,
    needed,
    p_equivalent,
    p_no_worse,
    randomisation,
    sign_flips,
    smallest_difference,
    spread_of,
    studentised_interval,
    t_interval,
    wilson_interval,
)


def mean(sums):
    return sums[..., 0] / sums[..., 1]


def perplexity(sums):
    return np.exp(mean(sums))


def f1(sums):
    return 2 * sums[..., 0] / (2 * sums[..., 0] + sums[..., 1] + sums[..., 2])


def plain(values, proportion=False, clusters=None):
    """Scores of a plain mean; ``(items,)`` or ``(runs, items)``."""
    values = np.atleast_2d(np.asarray(values, dtype=float))
    return Scores(np.stack([values, np.ones_like(values)], axis=-1), mean, proportion, clusters)


def counts(seed, items=80, runs=1):
    """Scores that are no ratio of two sums."""
    random = np.random.default_rng(seed)
    return Scores(random.integers(0, 3, size=(runs, items, 3)) + np.array([1.0, 0.0, 0.0]), f1)


# --- intervals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("hits", "items"), [(0, 20), (20, 20), (7, 50), (1, 200)])
def test_wilson_agrees_with_scipy(hits, items):
    theirs = scipy_stats.binomtest(hits, items).proportion_ci(method="wilson")
    ours = wilson_interval(hits / items, items)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_students_t_of_a_mean_is_the_textbooks():
    values = np.random.default_rng(0).normal(3.0, 2.0, size=40)
    theirs = scipy_stats.ttest_1samp(values, 0).confidence_interval(0.95)
    ours = t_interval(plain(values))
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), rel=1e-12)


def test_the_pseudo_values_of_a_mean_are_its_items_and_of_a_ratio_its_linearisation():
    values = np.random.default_rng(1).gamma(2.0, size=(2, 30))
    assert plain(values).pseudo_values == pytest.approx(values)
    random = np.random.default_rng(2)
    x, w = random.gamma(2.0, 3.0, 5000), random.integers(3, 20, 5000).astype(float)
    ratio = x.sum() / w.sum()
    found = Scores(np.stack([x, w], axis=-1)[None], mean).pseudo_values[0]
    assert found == pytest.approx(ratio + (x - ratio * w) / w.mean(), rel=0.02, abs=0.002)


def test_bca_agrees_with_scipys_but_for_the_widened_tails_of_few_items():
    values = np.random.default_rng(3).exponential(size=400)
    theirs = scipy_stats.bootstrap(
        (values,), np.mean, vectorized=True, method="BCa", n_resamples=9999, rng=np.random.default_rng(4)
    ).confidence_interval
    ours = bca_interval(plain(values))
    width = theirs.high - theirs.low
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.06 * width)


def test_the_studentised_interval_of_a_normal_mean_is_students():
    values = np.random.default_rng(5).normal(size=500)
    ours = studentised_interval(np.stack([values, np.ones(500)], axis=-1))
    theirs = t_interval(plain(values))
    width = theirs.high - theirs.low
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.06 * width)


def test_a_function_of_a_ratio_has_the_interval_of_the_ratio():
    random = np.random.default_rng(6)
    losses = np.stack([random.gamma(2.0, 3.0, 150), random.integers(3, 20, 150)], axis=-1).astype(float)[None]
    inner, outer = interval_of(Scores(losses, mean)), interval_of(Scores(losses, perplexity))
    assert (outer.low, outer.high) == pytest.approx((math.exp(inner.low), math.exp(inner.high)))
    falling = interval_of(Scores(losses, lambda sums: -mean(sums)))
    assert (falling.low, falling.high) == pytest.approx((-inner.high, -inner.low))


def test_which_interval_is_taken_is_said():
    values = np.random.default_rng(7).gamma(1.0, size=50)
    assert interval_of(plain(values)).method == "studentised bootstrap over items, 2000 replicates, seed 0"
    assert interval_of(plain(values[:5])).method == "Student's t"
    assert interval_of(plain(values > 1, proportion=True)).method == "Wilson score interval"
    assert interval_of(counts(8)).method.startswith("BCa bootstrap over items")


def test_intervals_are_the_same_every_time():
    assert interval_of(counts(9)) == interval_of(counts(9))


def test_items_of_one_cluster_count_as_one():
    """Ten copies of every item, each a cluster, say no more than the items themselves."""
    values = np.random.default_rng(10).gamma(2.0, size=40)
    names = clusters_of([f"{index:02}" for index in range(40) for _ in range(10)])
    copied = plain(np.repeat(values, 10), clusters=names)
    once, ten = interval_of(plain(values)), interval_of(copied)
    assert (ten.low, ten.high) == pytest.approx((once.low, once.high), rel=1e-9)
    assert "40 clusters" in ten.method
    against = plain(np.repeat(values - 0.1, 10), clusters=names)
    assert difference_of(copied, against).spread.units == 40
    assert interval_of(plain(np.repeat(values, 10))).high < ten.high


def test_clusters_are_used_only_where_they_say_something():
    assert clusters_of(["a"] * 50) is None
    assert clusters_of([str(index) for index in range(50)]) is None
    assert clusters_of([None] + [str(index // 2) for index in range(49)]) is None
    assert len(set(clusters_of([str(index // 2) for index in range(50)]))) == 25


def test_what_has_no_interval_says_why():
    single = estimate(plain([3.0]))
    assert (single.value, single.low, single.high) == (3.0, None, None)
    assert "1 item says nothing" in single.reason
    flat = estimate(plain(np.full(20, 0.7)))
    assert (flat.low, flat.high) == (None, None)
    assert "every resample of the items gives the same value" in flat.reason
    broken = estimate(plain([1.0, float("nan")]))
    assert (broken.value, broken.reason) == (None, "the value is nan")
    nothing = estimate(plain(np.zeros(50), proportion=True))
    assert (nothing.value, nothing.low) == (0.0, 0.0)
    assert nothing.high > 0.05


# --- tests of no difference ----------------------------------------------------------------------------------------


def test_mcnemar_is_a_binomial_test_of_the_items_that_changed():
    a, b = np.array([1, 1, 1, 1, 0, 1, 0, 0.0]), np.array([0, 0, 0, 0, 1, 1, 0, 0.0])
    assert mcnemar(a, b).p == pytest.approx(scipy_stats.binomtest(4, 5, 0.5).pvalue)
    assert mcnemar(b[:4], a[:4]).p == pytest.approx(scipy_stats.binomtest(0, 4, 0.5).pvalue)
    assert mcnemar(a, a).p == 1.0


def test_few_items_are_exchanged_in_every_way_as_scipy_does():
    random = np.random.default_rng(11)
    a, b = random.normal(0.8, 1.0, 10), random.normal(0.0, 1.0, 10)
    theirs = scipy_stats.permutation_test(
        (a, b), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=np.inf
    ).pvalue
    assert sign_flips(a - b).p == pytest.approx(theirs, abs=1e-12)
    assert randomisation(plain(a).units, plain(b).units, mean).p == pytest.approx(theirs, abs=1e-12)


def test_many_items_are_exchanged_at_random_as_scipy_does():
    random = np.random.default_rng(12)
    a, b = random.normal(0.3, 1.0, 60), random.normal(0.0, 1.0, 60)
    theirs = scipy_stats.permutation_test(
        (a, b), lambda x, y, axis: np.mean(x - y, axis=axis), permutation_type="samples", vectorized=True, rng=13
    ).pvalue
    assert sign_flips(a - b).p == pytest.approx(theirs, abs=0.012)


def test_how_many_exchanges_are_gone_through_depends_on_what_they_show():
    random = np.random.default_rng(14)
    gaps = random.normal(0.0, 1.0, 60)
    gaps -= gaps.mean()
    shown = sign_flips(gaps + 0.53, most=5000)
    assert (shown.p, shown.method) == (pytest.approx(1 / 5001), "sign flips, 5,000 of them")
    nothing, whole = sign_flips(gaps + 0.05), 2 * scipy_stats.norm.sf(0.05 * 60**0.5 / gaps.std())
    assert int(nothing.method.split(", ")[1].split()[0].replace(",", "")) < 1000
    assert nothing.p == pytest.approx(whole, abs=0.1)


def test_what_is_far_beyond_all_exchanges_needs_no_more_of_them_and_claims_no_more():
    found = sign_flips(np.random.default_rng(15).normal(2.0, 1.0, 60), most=50_000)
    assert found.method == "sign flips, 2,000 of them, and what was seen is far beyond all"
    assert found.p == pytest.approx(1 / 50_001)


def test_no_p_value_is_smaller_than_exchanges_of_so_few_items_allow():
    losses = np.stack([np.full(13, 7.0), np.ones(13)], axis=-1)
    low = np.stack([np.full(13, 1.5), np.ones(13)], axis=-1)
    found = randomisation(losses[None], low[None], perplexity, most=100_000)
    assert found.p >= 2 / 2**13
    assert sign_flips(np.full(14, 1.0), most=1_000_000).p >= 2 / 2**14


def test_equal_runs_show_no_difference_and_have_no_interval():
    values = plain(np.random.default_rng(15).normal(size=30))
    found = difference_of(values, values)
    assert (found.difference, found.runs.p, found.runs.low, found.runs.high) == (0.0, 1.0, None, None)
    assert found.reason == "every item shows the same difference"


def test_equal_runs_of_right_and_wrong_may_still_differ_on_other_items():
    hits = plain(np.random.default_rng(16).integers(0, 2, 50), proportion=True)
    found = difference_of(hits, hits)
    assert found.runs.p == 1.0
    assert -0.06 < found.runs.low < 0 < found.runs.high < 0.06


def test_pairing_finds_a_small_difference_that_unpaired_intervals_hide():
    random = np.random.default_rng(17)
    items = random.normal(0.0, 5.0, 200)
    ours, theirs = plain(items + 0.5 + random.normal(0, 0.5, 200)), plain(items)
    found = difference_of(ours, theirs)
    assert found.runs.p < 0.01
    assert 0.35 < found.runs.low < found.difference < found.runs.high < 0.6
    assert interval_of(ours).low < interval_of(theirs).high


def test_a_difference_of_corpus_scores_turns_around_with_its_sides():
    a, b = counts(18, runs=2), counts(19)
    there, back = difference_of(a, b), difference_of(b, a)
    assert there.difference == pytest.approx(-back.difference)
    assert there.runs.p == pytest.approx(back.runs.p)
    assert (there.runs.low, there.runs.high) == pytest.approx((-back.runs.high, -back.runs.low))


def test_the_interval_of_a_mean_difference_is_the_paired_t_tests():
    random = np.random.default_rng(30)
    a, b = random.normal(0.2, 1.0, 40), random.normal(0.0, 1.0, 40)
    theirs = scipy_stats.ttest_rel(a, b).confidence_interval(0.95)
    ours = difference_of(plain(a), plain(b)).runs
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))


def test_the_interval_of_paired_shares_is_bonett_and_prices():
    """By their eq. 3: 12 and 5 of 60 items changed, so shares of 13/62 and 6/62."""
    a, b = np.zeros(60), np.zeros(60)
    a[:12], b[12:17] = 1.0, 1.0
    found = difference_of(plain(a, proportion=True), plain(b, proportion=True)).runs
    gained, lost = 13 / 62, 6 / 62
    half = 1.959964 * math.sqrt((gained + lost - (gained - lost) ** 2) / 62)
    assert (found.low, found.high) == pytest.approx((gained - lost - half, gained - lost + half), abs=1e-6)


def test_a_few_items_far_from_the_rest_do_not_hide_that_perplexity_fell_on_all():
    """exp makes of a few bad items nearly all of the perplexity; its equality is that of the nats."""
    random = np.random.default_rng(31)
    tokens = random.integers(3, 12, 60).astype(float)
    rates = 2.0 + random.exponential(1.5, 60)
    base, tuned = (
        Scores(np.stack([rate * tokens, tokens], axis=-1)[None], perplexity) for rate in (rates, rates - 1.2)
    )
    assert difference_of(tuned, base).runs.p < 0.0005
    assert base.inner.value == pytest.approx(Scores(base.statistics, mean).value)
    assert counts(32).inner.aggregate is f1


def test_runs_over_other_items_are_refused():
    with pytest.raises(ValueError, match="items and statistics differ"):
        difference_of(plain(np.zeros(3)), plain(np.zeros(4)))


# --- several seeds -------------------------------------------------------------------------------------------------


def test_the_spread_of_a_two_way_table_has_the_expected_parts():
    """Averaged over many tables, each part is what the model put in."""
    random = np.random.default_rng(20)
    found = []
    for _ in range(400):
        table = random.normal(0, 2.0, (1, 50)) + random.normal(0, 0.5, (3, 1)) + random.normal(0, 1.0, (3, 50))
        found.append(spread_of(table, table.mean(axis=1), True))
    assert np.mean([spread.items for spread in found]) == pytest.approx(4 / 50 + 1 / 150, rel=0.06)
    assert np.mean([spread.seeds for spread in found]) == pytest.approx(0.25 / 3 + 1 / 150, rel=0.12)
    assert np.mean([spread.shared for spread in found]) == pytest.approx(1 / 150, rel=0.06)


def test_one_seed_says_nothing_of_others_and_more_say_more():
    random = np.random.default_rng(21)
    base = plain(random.normal(size=100))

    def against_base(seeds, gap):
        runs = base.item_values + random.normal(0, 0.1, (seeds, 100)) + gap + 0.1 * np.arange(seeds)[:, None]
        return difference_of(plain(runs), base, seeded=(True, False))

    assert against_base(1, 0.5).method is None
    two, three, five = (against_base(seeds, 0.5) for seeds in (2, 3, 5))
    assert two.method.p > three.method.p > five.method.p >= five.runs.p
    assert (two.seeds, five.seeds) == (2, 5)
    assert two.method.low < two.runs.low < two.runs.high < two.method.high
    assert two.method.p > 0.05 > two.runs.p


def test_seeds_that_all_agree_change_nothing():
    base, gap = np.random.default_rng(22).normal(size=(2, 60))
    found = difference_of(plain(np.tile(base + 0.3 * gap, (3, 1))), plain(base), seeded=(True, False))
    assert found.method.p == pytest.approx(found.runs.p, rel=0.2)
    assert (found.method.low, found.method.high) == pytest.approx((found.runs.low, found.runs.high))


def test_seeds_of_both_sides_are_paired_only_where_they_are_the_same():
    random = np.random.default_rng(23)
    luck = random.normal(0, 1.0, (4, 1))
    a, b = (plain(random.normal(0, 0.3, (4, 80)) + luck + gap) for gap in (0.2, 0.0))
    paired = difference_of(a, b, seeded=(True, True))
    apart = difference_of(a, b, seeded=(True, True), same_seeds=False)
    assert paired.spread.seeds < 0.1 * apart.spread.seeds
    assert paired.spread.seed_df == 3
    assert apart.spread.seed_df == 3
    fewer = difference_of(a, Scores(b.statistics[:2], mean), seeded=(True, True))
    assert fewer.spread.seed_df == 1


def test_the_interval_of_a_mean_over_seeds_is_widened_by_them_and_stays_a_share():
    random = np.random.default_rng(24)
    hits = (random.random((3, 100)) < np.array([0.90, 0.95, 0.99])[:, None]).astype(float)
    alone, others = estimate(plain(hits, proportion=True)), estimate(plain(hits, proportion=True), seeded=True)
    assert others.low < alone.low < alone.value < alone.high <= others.high <= 1.0
    assert "widened for other seeds" in others.method


def test_the_p_value_of_a_spread_is_where_its_interval_just_reaches():
    spread = Spread(items=1.0, units=40, seeds=2.0, shared=0.5, seed_df=2)
    assert spread.p(spread.margin(0.9)) == pytest.approx(0.1)
    assert Spread(1.0, 40).p(2.5) == pytest.approx(2 * scipy_stats.t.sf(2.5, 39))
    assert spread.p(0.0) == 1.0


# --- many comparisons, power, equivalence --------------------------------------------------------------------------


def test_holm_agrees_with_its_closed_form():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_a_second_family_waits_for_the_first():
    assert gated([0.2, 0.6], [0.001, 0.3]) == [0.2, 0.3]
    assert gated([0.01], [0.02, 0.04]) == [0.02, 0.04]
    assert gated([], [0.02]) == [0.02]


def found_of(spread, difference=0.0, changed=50, discordant=None, n=100):
    """A difference of which only its spread matters."""
    nothing = Claim(None, None, 1.0)
    return Difference(difference, n, nothing, None, "", "", spread, 1, changed, discordant)


def test_the_smallest_difference_is_shown_four_times_in_five():
    random = np.random.default_rng(25)
    found = difference_of(plain(random.normal(size=100)), plain(np.zeros(100)))
    size = smallest_difference(found)
    shown = [scipy_stats.ttest_1samp(random.normal(size, 1.0, 100), 0).pvalue < 0.05 for _ in range(1000)]
    assert size == pytest.approx((1.984 + 0.842) * math.sqrt(found.spread.items), rel=1e-3)
    assert np.mean(shown) == pytest.approx(0.8, abs=0.06)


@pytest.mark.parametrize(("items", "alike"), [(100, 1.0), (100, 0.7), (400, 0.9)])
def test_the_smallest_difference_of_shares_is_that_of_the_exact_test(items, alike):
    """However few items differ now: what shows a difference changes as many as it says."""
    random = np.random.default_rng(26)
    hits = (random.random(items) < 0.5).astype(float)
    other = np.where(random.random(items) < alike, hits, 1 - hits)
    found = difference_of(plain(hits, proportion=True), plain(other, proportion=True))
    size = smallest_difference(found, 0.0125)
    share = max(found.discordant, size)
    draws = random.multinomial(items, [(share + size) / 2, (share - size) / 2, 1 - share], size=4000)
    p = np.array([scipy_stats.binomtest(int(a), int(a + b)).pvalue if a + b else 1.0 for a, b, _ in draws])
    assert np.mean(p < 0.0125) == pytest.approx(0.8, abs=0.03)


def test_half_the_difference_needs_four_times_the_items():
    spread = Spread(items=0.01, units=100)
    size = smallest_difference(found_of(spread))
    assert needed(found_of(spread, size)).items is None  # there are enough
    assert needed(found_of(spread, size / 2)).items == pytest.approx(400, rel=0.03)
    assert needed(found_of(spread, -size / 2)) == needed(found_of(spread, size / 2))
    assert needed(found_of(spread, 0.0)).items is None


def test_so_few_items_that_no_test_could_reject_show_nothing():
    few = Spread(items=0.0001, units=5)
    assert smallest_difference(found_of(few)) is None
    assert needed(found_of(few, 1.0)).items == 6
    assert smallest_difference(found_of(Spread(0.0, 50))) is None


def test_where_seeds_differ_too_much_no_number_of_items_is_enough():
    spread = Spread(items=0.0001, units=100, seeds=1.0, shared=0.00005, seed_df=2)
    found = needed(found_of(spread, 0.5))
    assert found.items is None
    assert 10 < found.seeds < 200
    enough = Spread(0.0001, 100, 3.0 / found.seeds, 0.0, found.seeds - 1)
    assert smallest_difference(found_of(enough)) < 0.51


def test_no_worse_is_a_claim_of_its_own():
    unknown, known = found_of(Spread(items=1.0, units=50)), found_of(Spread(items=0.001, units=50))
    assert p_no_worse(unknown, -0.1, 0.5) > 0.3
    assert p_no_worse(known, -0.1, 0.5) < 1e-6
    assert p_no_worse(known, -0.5, 0.5) == pytest.approx(0.5)
    assert p_no_worse(known, -0.9, 0.5) > 0.999
    assert p_no_worse(unknown, 1.2, 0.5) == pytest.approx(scipy_stats.t.sf(1.7, 49))


def test_rare_losses_are_not_taken_for_none():
    """Of a share, the margin itself says how much items vary at least; of other scores too few changes say nothing."""
    random = np.random.default_rng(27)
    claimed = []
    for _ in range(400):
        lost = (random.random(50) < 0.04).astype(float)
        found = difference_of(plain(1 - lost, proportion=True), plain(np.ones(50), proportion=True))
        claimed.append(p_no_worse(found, found.difference, 0.04, share=True) < 0.05)
    assert np.mean(claimed) <= 0.05
    assert p_no_worse(found_of(Spread(0.0001, 50), changed=3), 0.0, 0.04) is None


def test_equivalence_is_two_one_sided_tests():
    found = found_of(Spread(items=0.01, units=60), 0.05)
    theirs = [scipy_stats.t.sf((0.3 - 0.05) / 0.1, 59), scipy_stats.t.sf((0.3 + 0.05) / 0.1, 59)]
    assert p_equivalent(found, 0.3) == pytest.approx(max(theirs))
