"""Paired differences keep their width where hardly anything differs, and equality is not proved by clusters that agree."""

import numpy as np
import pytest
from scipy import stats as distributions

from workbench import stats
from workbench.errors import BadInput

MARGIN = 0.12


def answers(generator, clusters, size, together, first, second, alike=0.8):
    """Two models' outcomes, right in shares `first` and `second` of the items, and their clusters.

    A share `together` of the clusters stands or falls as a whole; a share `alike` of the luck is both models'.
    """
    labels = np.repeat(np.arange(clusters), size)
    whole = (generator.random(clusters) < together)[labels]
    mine, others, which = (
        np.where(whole, generator.random(clusters)[labels], generator.random(labels.size)) for _ in range(3)
    )
    return (
        (mine < first).astype(float),
        (np.where(which < alike, mine, others) < second).astype(float),
        labels,
    )


def items_taken_for_independent(first, second, clusters, margin):
    """TOST as of items: the least variance of the mean is that of N items that differ one by one."""
    totals = np.bincount(clusters, weights=second - first)
    k, items, mean = len(totals), len(first), float((second - first).mean())
    squares = max(np.sum((totals - mean * items / k) ** 2), margin * (1 - margin) * items)
    error = np.sqrt(squares * k / (k - 1)) / items
    return distributions.t.sf((margin - abs(mean)) / error, k - 1)


def errors(seed, clusters, size, together, first, test=stats.equivalence, draws=400):
    """How often two models whose accuracies differ by exactly the margin are called equal."""
    generator = np.random.default_rng(seed)
    found = [
        test(*answers(generator, clusters, size, together, first, first + MARGIN), margin=MARGIN)
        for _ in range(draws)
    ]
    return np.mean(np.array(found) <= 0.05)


@pytest.mark.parametrize("first", [0.02, 0.44, 0.86])
@pytest.mark.parametrize("together", [0, 0.4, 1])
@pytest.mark.parametrize(("clusters", "size"), [(8, 6), (12, 8), (24, 15), (63, 2), (150, 2)])
def test_equivalence_at_its_margin_errs_at_most_6_percent_however_items_hang_together(
    clusters, size, together, first
):
    chance = 2.33 * np.sqrt(0.05 * 0.95 / 400)  # of 400 draws, exceeded by one cell in a hundred
    assert errors(20, clusters, size, together, first) <= 0.06 + chance


def test_equivalence_errs_at_most_6_percent_exactly_where_clusters_stand_or_fall_as_a_whole():
    """No simulation: gains and losses of whole clusters, each outcome weighed by its probability."""
    for k, margin, lost in [(63, 0.07, 0.01), (80, 0.1, 0.02), (100, 0.05, 0.01), (150, 0.05, 0.01)]:
        error = 0.0
        for losses in range(12):
            for gains in range(k - losses + 1):
                second = np.r_[np.ones(gains), -np.ones(losses), np.zeros(k - gains - losses)] + 0.0
                if gains - losses < 2 * margin * k and equal(second, margin):
                    error += distributions.multinomial.pmf(
                        [gains, losses, k - gains - losses], k, [margin + lost, lost, 1 - margin - 2 * lost]
                    )
        assert error <= 0.06


def equal(differences, margin):
    first, second = (differences < 0).astype(float), (differences > 0).astype(float)
    return stats.equivalence(first, second, np.arange(len(differences)), margin=margin) <= 0.05


@pytest.mark.parametrize(("clusters", "size"), [(12, 8), (24, 15)])
def test_items_taken_for_independent_would_err_many_times_as_often(clusters, size):
    """The twin: the same simulation finds the fault in a test that takes items of a cluster for independent."""
    assert errors(20, clusters, size, 1, 0.02, items_taken_for_independent) > 0.15


@pytest.mark.parametrize("together", [0, 1])
def test_equality_is_found_with_enough_clusters(together):
    generator = np.random.default_rng(21)
    found = [
        stats.equivalence(*answers(generator, 200, 3, together, 0.7, 0.7), margin=0.1) for _ in range(50)
    ]
    assert np.mean(np.array(found) <= 0.05) > 0.8


def test_agreement_on_a_few_clusters_proves_nothing_however_many_items_they_have():
    for size in (1, 50):
        few, labels = np.ones(24 * size), np.repeat(np.arange(24), size)
        assert stats.equivalence(few, few, labels, margin=0.05) > 0.05
    same = np.ones(300)
    assert stats.equivalence(same, same, np.arange(300), margin=0.05) < 0.01


def test_what_equivalence_says_it_takes_is_what_it_takes():
    for margin, needed in ((0.05, 73), (0.1, 36)):
        proved = [
            stats.equivalence(np.ones(k), np.ones(k), np.arange(k), margin=margin) <= 0.05
            for k in (needed - 1, needed)
        ]
        assert proved == [False, True]


@pytest.mark.parametrize("margin", [0, -0.1, 1, float("nan")])
def test_an_impossible_margin_is_refused(margin):
    with pytest.raises(BadInput, match="margin"):
        stats.equivalence([0, 1], [1, 1], [1, 2], margin=margin)


def coverage(seed, clusters, size, together, first, second, interval=stats.paired_difference, draws=300):
    generator = np.random.default_rng(seed)
    found = [interval(*answers(generator, clusters, size, together, first, second)) for _ in range(draws)]
    return np.mean([one.low <= second - first <= one.high for one in found])


@pytest.mark.parametrize(
    ("first", "second"),
    [(0.5, 0.6), (0.02, 0.05), (0.95, 0.98), (0.98, 0.98), (0.3, 0.7), (1.0, 0.97)],
    ids=["common", "rare", "ceiling", "equal", "far apart", "from perfect"],
)
@pytest.mark.parametrize("together", [0, 0.5, 1])
@pytest.mark.parametrize(("clusters", "size"), [(8, 4), (24, 5), (100, 2)])
def test_the_interval_of_a_difference_covers_it_at_least_93_percent_of_the_time(
    clusters, size, together, first, second
):
    chance = 2.33 * np.sqrt(0.07 * 0.93 / 300)
    assert coverage(22, clusters, size, together, first, second) >= 0.93 - chance


def test_resampled_clusters_would_miss_a_rare_difference_one_time_in_four():
    """The twin: where few clusters differ, the bootstrap has mostly seen none and takes that for certainty."""
    resampled = lambda first, second, labels: stats.bootstrap(second - first, labels, draws=200)  # noqa: E731
    assert coverage(22, 24, 5, 1, 0.95, 0.98, resampled) < 0.8


def test_a_difference_of_independent_items_is_not_covered_more_often_than_promised_by_much():
    assert 0.93 <= coverage(23, 100, 1, 0, 0.5, 0.65, draws=1000) <= 0.97


@pytest.mark.parametrize(
    ("first", "second", "reach"),
    [
        ([1] * 9, [1] * 9, 1.0),
        ([0] * 9, [1] * 9, 1.0),
        ([0.0] * 9, [0.1] * 9, None),
        ([3.0] * 9, [9.1] * 9, None),
    ],
)
def test_no_interval_from_finitely_many_answers_is_without_width(first, second, reach):
    found = stats.paired_difference(first, second, np.repeat([1, 2, 3], 3), reach=reach)
    assert found.low <= found.estimate <= found.high
    assert found.high - found.low > 0.1


@pytest.mark.parametrize("values", [[0.1] * 9, [0.0, 0.2, 0.1, 0.4, 0.1, 0.0, 0.3, 0.1, 0.2], [0.0] * 9])
def test_the_unit_of_measured_numbers_does_not_matter(values):
    """Differences of 1e-40 had an interval of ±.36: those without a bound counted as shares, wherever all clusters agreed."""
    labels, ends = np.repeat([1, 2, 3], 3), []
    for unit in (1.0, 1e-40, 1e6):
        found = stats.paired_difference(np.zeros(9), np.array(values) * unit, labels, reach=None)
        ends.append((found.low / unit, found.high / unit))
    np.testing.assert_allclose(ends[1:], ends[:2], rtol=1e-6)
    assert (ends[0][1] > ends[0][0]) == any(values)


def test_without_clusters_and_differences_the_interval_is_wilsons_with_the_few_items_t():
    found = stats.paired_difference([0] * 400, [1] * 20 + [0] * 380, np.arange(400))
    wilson = stats.wilson(20, 400)
    assert found.high == pytest.approx(wilson.high, rel=0.01)
    assert 0 < found.low <= wilson.low


def test_the_interval_turns_round_with_its_sides():
    first, second, labels = answers(np.random.default_rng(24), 30, 3, 0.5, 0.9, 0.95)
    one, other = (
        stats.paired_difference(first, second, labels),
        stats.paired_difference(second, first, labels),
    )
    assert (one.low, one.estimate, one.high) == pytest.approx((-other.high, -other.estimate, -other.low))
    assert stats.equivalence(first, second, labels, margin=0.2) == stats.equivalence(
        second, first, labels, margin=0.2
    )


def test_clusters_of_unequal_size_count_as_fewer():
    labels = np.repeat(np.arange(12), [1] * 6 + [15] * 6)
    same = np.ones(labels.size)
    found = stats.paired_difference(same, same, labels)
    assert found.high > stats.paired_difference(same[:84], same[:84], np.repeat(np.arange(12), 7)).high


def test_numbers_without_a_bound_must_be_named_as_such():
    with pytest.raises(BadInput, match="reach=None"):
        stats.paired_difference([0.0, 1.0], [7.0, 9.0], [1, 2])
    assert stats.paired_difference([0.0, 1.0], [7.0, 9.0], [1, 2], reach=None).estimate == 7.5
    with pytest.raises(BadInput, match="outcomes"):
        stats.equivalence([0.0, 1.0], [7.0, 9.0], [1, 2], margin=0.1)


@pytest.mark.parametrize(
    "call", [stats.paired_difference, lambda *given: stats.equivalence(*given, margin=0.1)]
)
def test_a_difference_needs_two_clusters(call):
    with pytest.raises(BadInput, match="1 cluster"):
        call([0, 1], [1, 1], ["a", "a"])
    with pytest.raises(BadInput, match="0 cluster"):
        call([], [], [])
