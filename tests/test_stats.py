"""Intervals cover what they promise, nulls are those of chance, and each check has a twin that fails."""

import itertools

import numpy as np
import pytest
from scipy import stats as distributions

from workbench import stats
from workbench.errors import BadInput
from workbench.stats import intervals


def covered(intervals, truth):
    return np.mean([interval.low <= truth <= interval.high for interval in intervals])


def clustered_draw(generator, clusters=40, size=5):
    """Outcomes whose clusters share their luck: strongly dependent within a question."""
    luck = np.repeat(generator.beta(1, 1, clusters), size)
    return (generator.random(clusters * size) < luck).astype(float), np.repeat(np.arange(clusters), size)


def test_wilsons_ends_are_the_truths_from_which_the_share_is_196_standard_errors_away():
    found = stats.wilson(7, 20)
    for end in (found.low, found.high):
        assert abs(found.estimate - end) == pytest.approx(1.96 * np.sqrt(end * (1 - end) / 20), rel=1e-3)
    assert found.low < found.estimate < found.high


def test_wilson_covers_about_95_percent_exactly_where_the_normal_interval_does_not():
    n, truth, z = 30, 0.05, 1.96
    x = np.arange(n + 1)
    weight = distributions.binom.pmf(x, n, truth)
    share = x / n
    half = z * np.sqrt(share * (1 - share) / n)
    hit = np.array([covered([stats.wilson(int(k), n)], truth) for k in x])
    assert weight @ hit > 0.92
    assert weight @ ((share - half <= truth) & (truth <= share + half)) < 0.85  # the twin: a wrong interval


def test_wilson_keeps_its_width_when_all_are_right():
    assert stats.wilson(20, 20).low == pytest.approx(20 / (20 + 1.96**2), abs=1e-3)


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (3, 2), (-1, 5)])
def test_impossible_counts_are_refused(successes, n):
    with pytest.raises(BadInput, match="successes"):
        stats.wilson(successes, n)


def test_wilson_averages_95_percent_over_truths():
    """Exact, no simulation: outcomes weighed by their probability, averaged over a hundred true accuracies."""
    n, truths = 60, np.linspace(0.02, 0.98, 97)
    found = [stats.wilson(k, n) for k in range(n + 1)]
    low, high = np.array([i.low for i in found]), np.array([i.high for i in found])
    each = [distributions.binom.pmf(np.arange(n + 1), n, t)[(low <= t) & (t <= high)].sum() for t in truths]
    assert 0.94 <= np.mean(each) <= 0.96


def test_cluster_bootstrap_covers_95_percent_and_ignoring_clusters_does_not():
    generator = np.random.default_rng(1)
    honest, naive = [], []
    for seed in range(2000):
        values, clusters = clustered_draw(generator)
        honest.append(stats.bootstrap(values, clusters, draws=400, seed=seed))
        if seed < 200:
            naive.append(stats.bootstrap(values, np.arange(len(values)), draws=200, seed=seed))
    assert 0.94 <= covered(honest, 0.5) <= 0.96
    assert covered(naive, 0.5) < 0.85


def test_widened_tails_keep_coverage_with_few_clusters():
    generator = np.random.default_rng(2)
    draws = [clustered_draw(generator, clusters=8) for _ in range(300)]
    assert covered([stats.bootstrap(*draw, draws=400) for draw in draws], 0.5) > 0.90


def test_bootstrap_weighs_clusters_by_their_size():
    interval = stats.bootstrap([1, 1, 1, 0], ["a", "a", "a", "b"])
    assert interval.estimate == 0.75


def test_the_same_seed_gives_the_same_interval_and_another_does_not():
    values, clusters = clustered_draw(np.random.default_rng(3))
    assert stats.bootstrap(values, clusters, seed=4) == stats.bootstrap(values, clusters, seed=4)
    assert stats.bootstrap(values, clusters, seed=4) != stats.bootstrap(values, clusters, seed=5)


def test_the_number_of_draws_is_what_was_asked(monkeypatch):
    made = []
    real = intervals._resampled_ratios
    monkeypatch.setattr(intervals, "_resampled_ratios", lambda *given: made.append(real(*given)) or made[-1])
    stats.bootstrap([0, 1, 1], [1, 2, 3], draws=1234)
    assert sum(map(len, made)) == 1234


@pytest.mark.parametrize(
    ("values", "clusters", "match"),
    [([1, 0], ["a", "a"], "1 cluster"), ([1, np.nan], [1, 2], "finite"), ([1, 0], [1, 2, 3], "label")],
)
def test_bootstrap_refuses_what_it_cannot_resample(values, clusters, match):
    with pytest.raises(BadInput, match=match):
        stats.bootstrap(values, clusters)


def test_items_that_stand_alone_get_wilsons_interval_and_any_others_the_bootstraps():
    right, alone, shared = [1, 0, 1, 1], [1, 2, 3, 4], [1, 1, 2, 2]
    assert stats.mean_interval(right, alone) == stats.wilson(3, 4)
    assert stats.mean_interval(right, shared) == stats.bootstrap(right, shared) != stats.wilson(3, 4)
    assert stats.mean_interval([2, 0, 2, 2], alone) == stats.bootstrap(
        [2, 0, 2, 2], alone
    )  # weighed: no proportion


@pytest.mark.parametrize("answer", [0, 1])
def test_where_all_are_right_or_all_are_wrong_the_interval_keeps_its_width(answer):
    agreeing, shared = [answer] * 8, [1, 1, 2, 2, 3, 3, 4, 4]
    assert stats.mean_interval(agreeing, shared) == stats.wilson(4 * answer, 4)
    assert stats.bootstrap(agreeing, shared).low == stats.bootstrap(agreeing, shared).high  # the twin
    with pytest.raises(BadInput, match="label"):
        stats.mean_interval(agreeing, shared[1:])


def test_where_all_clusters_agree_on_a_share_the_interval_keeps_its_width():
    halves, shared = [1, 0] * 5, np.repeat(np.arange(5), 2)
    found = stats.mean_interval(halves, shared)
    assert found.low < 0.3
    assert found.estimate == 0.5
    assert found.high > 0.7
    assert stats.bootstrap(halves, shared).low == stats.bootstrap(halves, shared).high  # the twin


def test_outcomes_of_clusters_are_worth_as_many_as_vary_alone():
    """Whole clusters are worth their number, outcomes that hardly hang together nearly their own."""
    generator = np.random.default_rng(30)
    whole = (generator.random(60) < 0.5).astype(float)
    repeated = stats.clustered_wilson(np.repeat(whole, 5), np.repeat(np.arange(60), 5))
    once = stats.wilson(int(whole.sum()), 60)
    assert (repeated.low, repeated.high) == pytest.approx((once.low, once.high), abs=0.01)
    alone = generator.permutation(np.repeat([0, 1], 150)).astype(float)
    apart, single = stats.clustered_wilson(alone, np.repeat(np.arange(60), 5)), stats.wilson(150, 300)
    assert apart.high - apart.low < 1.25 * (single.high - single.low)


def test_shares_have_a_clustered_interval_and_other_numbers_none():
    found = stats.clustered_wilson([0.2, 0.9, 0.4, 0.7], [1, 1, 2, 2])
    assert 0 <= found.low < found.estimate < found.high <= 1
    for labels in ([1, 1], [1, 2]):
        assert (
            stats.clustered_wilson([0.5, 0.5], labels).high - stats.clustered_wilson([0.5, 0.5], labels).low
            > 0.6
        )
    for wrong in ([], [0.0, 1.5], [-0.1, 1.0]):
        with pytest.raises(BadInput, match="between 0 and 1"):
            stats.clustered_wilson(wrong, range(len(wrong)))


def test_a_ratio_draws_clusters_with_both_of_its_parts():
    generator = np.random.default_rng(16)
    below = generator.random(60) + 0.5
    found = stats.bootstrap_ratio(2 * below, below, np.arange(60))
    assert (found.low, found.estimate, found.high) == pytest.approx((2, 2, 2))
    apart = stats.bootstrap_ratio(generator.permutation(2 * below), below, np.arange(60))
    assert apart.high - apart.low > 0.2
    ones = np.ones(60)
    assert stats.bootstrap_ratio(below, ones, np.arange(60)) == stats.bootstrap(below, np.arange(60))


def test_pairing_is_narrower_than_two_separate_intervals():
    generator = np.random.default_rng(5)
    first, clusters = clustered_draw(generator, clusters=200, size=1)
    second = np.where(generator.random(first.size) < 0.1, 1.0, first)
    paired = stats.paired_difference(first, second, clusters)
    alone = stats.bootstrap(second, clusters)
    assert paired.estimate == pytest.approx(second.mean() - first.mean())
    assert paired.high - paired.low < 0.6 * (alone.high - alone.low)


def test_mcnemar_counts_only_discordant_pairs():
    first = [1] * 50 + [1] * 2 + [0] * 10
    second = [1] * 50 + [0] * 2 + [1] * 10
    result = stats.mcnemar(first, second)
    assert (result.only_first, result.only_second) == (2, 10)
    assert result.p_value == pytest.approx(2 * distributions.binom.cdf(2, 12, 0.5))
    assert stats.mcnemar(first, first).p_value == 1.0


def test_the_binomial_null_is_what_counting_every_outcome_gives():
    n, p, k = 3, 0.3, 3
    mass = distributions.binom.pmf(np.arange(n + 1), n, p)
    outcomes = list(itertools.product(range(n + 1), repeat=k))
    weights = np.array([np.prod(mass[list(counts)]) for counts in outcomes])
    ranges = np.array([max(counts) - min(counts) for counts in outcomes])
    null = stats.binomial_spread(n, p, k)
    assert null.mean == pytest.approx(weights @ ranges / n)
    assert weights[ranges <= null.high * n].sum() >= 0.95 > weights[ranges < null.high * n].sum()


def test_the_binomial_null_agrees_with_simulation_at_published_sizes():
    draws = np.random.default_rng(6).binomial(100, 0.55, size=(20_000, 5))
    assert stats.binomial_spread(100, 0.55, 5).mean == pytest.approx(
        np.ptp(draws, axis=1).mean() / 100, rel=0.02
    )
    assert stats.binomial_spread(100, 0.55, 5).mean > 2 * stats.binomial_spread(2490, 0.55, 5).mean


def test_shared_items_make_the_true_null_smaller_than_the_binomial_one():
    generator = np.random.default_rng(7)
    difficulty = np.repeat(generator.beta(0.3, 0.3, 200)[:, None], 5, axis=1)
    outcomes = generator.random((200, 5)) < difficulty
    shared = stats.permutation_spread(outcomes, permutations=300).null_mean
    assert shared < 0.8 * stats.binomial_spread(200, float(outcomes.mean()), 5).mean


def test_permutation_p_values_are_uniform_without_an_effect_and_small_with_one():
    generator = np.random.default_rng(8)
    null, effect = [], []
    for seed in range(200):
        easy = generator.random((40, 1)) < 0.6
        outcomes = np.where(generator.random((40, 4)) < 0.3, generator.random((40, 4)) < 0.5, easy).astype(
            float
        )
        null.append(stats.permutation_spread(outcomes, permutations=99, seed=seed).p_value)
        outcomes[:, 0] *= generator.random(40) < 0.4
        effect.append(stats.permutation_spread(outcomes, permutations=99, seed=seed).p_value)
    assert np.mean(np.array(null) <= 0.05) < 0.09
    assert np.mean(np.array(effect) <= 0.05) > 0.8


def test_excess_spread_is_spread_minus_its_null():
    test = stats.permutation_spread(np.eye(4)[:, :3], permutations=50)
    assert test.excess == pytest.approx(test.spread - test.null_mean)


def test_cochran_q_with_two_templates_is_mcnemar_without_correction():
    generator = np.random.default_rng(9)
    table = (generator.random((60, 2)) < [0.5, 0.7]).astype(int)
    pair = stats.mcnemar(table[:, 0], table[:, 1])
    expected = (pair.only_first - pair.only_second) ** 2 / (pair.only_first + pair.only_second)
    assert stats.cochran_q(table).statistic == pytest.approx(expected)


def test_cochran_q_matches_a_worked_example():
    """Column sums 6, 4, 2 and row sums 3 3 2 2 1 1 0 0, by hand: Q = 2 (3·56 - 12²) / (3·12 - 28) = 6."""
    table = [[1, 1, 1], [1, 1, 1], [1, 1, 0], [1, 1, 0], [1, 0, 0], [1, 0, 0], [0, 0, 0], [0, 0, 0]]
    result = stats.cochran_q(table)
    assert (result.statistic, result.degrees) == (pytest.approx(6.0), 2)
    assert result.p_value == pytest.approx(np.exp(-3.0))  # chi-squared with two degrees: exp(-Q / 2)


def test_cochran_q_of_templates_that_always_agree_is_nothing():
    assert stats.cochran_q([[1, 1, 1], [0, 0, 0]]).p_value == 1.0
    with pytest.raises(BadInput, match="right/wrong"):
        stats.cochran_q([[0.5, 1]])


def shuffled_wins(generator, clusters=60, size=3, shift=0.0):
    """Two models equally good but for `shift`, whose answers to the items of one cluster hang together."""
    luck = np.repeat(generator.random(clusters), size)
    turn = np.repeat(generator.random(clusters), size) - 0.5
    first = generator.random(clusters * size) < np.clip(luck + turn / 2, 0, 1)
    second = generator.random(clusters * size) < np.clip(luck - turn / 2 + shift, 0, 1)
    return first.astype(float), second.astype(float), np.repeat(np.arange(clusters), size)


def test_sign_flips_err_5_percent_under_the_null_where_mcnemar_on_clustered_items_errs_more():
    generator = np.random.default_rng(10)
    flips, naive = [], []
    for seed in range(600):
        first, second, clusters = shuffled_wins(generator)
        flips.append(stats.sign_flip(first, second, clusters, flips=300, seed=seed) <= 0.05)
        naive.append(stats.mcnemar(first, second).p_value <= 0.05)
    assert 0.02 <= np.mean(flips) <= 0.07
    assert np.mean(naive) > 0.07
    assert stats.sign_flip(*shuffled_wins(generator, clusters=300, shift=0.2)) < 0.01


def test_holm_matches_a_worked_example_and_keeps_the_order():
    """0.01 x 4, 0.02 x 3, then 0.03 x 2 and 0.04 x 1, neither of which may be below the one before."""
    assert stats.holm([0.04, 0.01, 0.03, 0.02]).tolist() == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert stats.holm([0.9, 0.8]).max() == 1.0


def test_holm_keeps_all_tests_together_at_5_percent_where_single_tests_err_in_a_third():
    p_values = np.random.default_rng(12).random((4000, 8))
    together = np.mean([stats.holm(row).min() <= 0.05 for row in p_values])
    assert 0.04 <= together <= 0.06
    assert np.mean((p_values <= 0.05).any(axis=1)) > 0.3


def trained(generator, seeds, items, apart, right=0.0):
    """Right and wrong of several trainings on the same items; `apart` is how far trainings differ (logits)."""
    logits = generator.normal(0.0, 1.0, items) + generator.normal(0.0, apart, (seeds, 1)) + right
    return (generator.random((seeds, items)) < 1 / (1 + np.exp(-logits))).astype(float)


def test_multi_bootstrap_covers_and_items_alone_do_not():
    generator = np.random.default_rng(13)
    both, items_alone = [], []
    for seed in range(500):
        table = trained(generator, 10, 60, 0.5)
        both.append(stats.multi_bootstrap(table, draws=200, seed=seed))
        items_alone.append(stats.bootstrap(table.mean(axis=0), np.arange(60), draws=200, seed=seed))
    assert 0.92 <= covered(both, 0.5) <= 0.975
    assert covered(items_alone, 0.5) < 0.92


def test_multi_bootstrap_of_a_difference_uses_the_pairing_of_seeds():
    generator = np.random.default_rng(14)
    shared = generator.normal(0.0, 0.8, (8, 1)) + generator.normal(0.0, 1.0, 100)
    first, second = ((generator.random((8, 100)) < 1 / (1 + np.exp(-shared))).astype(float) for _ in range(2))
    paired = stats.multi_bootstrap(first, second)
    alone = stats.multi_bootstrap(first, second, paired_seeds=False)
    assert paired.estimate == pytest.approx(first.mean() - second.mean()) == pytest.approx(alone.estimate)
    assert paired.high - paired.low < 0.7 * (alone.high - alone.low)


def test_multi_bootstrap_refuses_one_training_and_other_items():
    with pytest.raises(BadInput, match="two of each"):
        stats.multi_bootstrap(np.ones((1, 10)))
    with pytest.raises(BadInput, match="the same items"):
        stats.multi_bootstrap(np.ones((3, 10)), np.ones((3, 9)))
