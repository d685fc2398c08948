"""Groups of languages are compared within tasks, and intervals over languages cover the truth."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from workbench.errors import BadInput
from workbench.stats.few_clusters import cell_contrast
from workbench.studies.within_task import ALL, gap, language_means


def table(cells):
    """One row per (task, seen, language, value)."""
    return pd.DataFrame(cells, columns=["task", "seen", "language", "value"])


# By hand: easy gains 30 in seen and 28 in unseen, hard 10 and 8; most seen languages are in the easy task.
SIMPSON = table(
    [("easy", True, code, 30 + off) for code, off in zip("abcdef", (-2, -1, 0, 0, 1, 2), strict=True)]
    + [("easy", False, code, 28 + off) for code, off in zip("uv", (-1, 1), strict=True)]
    + [("hard", True, code, 10 + off) for code, off in zip("ab", (-1, 1), strict=True)]
    + [("hard", False, code, 8 + off) for code, off in zip("uvwxyz", (-2, -1, 0, 0, 1, 2), strict=True)]
)


def seen_gap(rows):
    return gap(rows, group="seen", first=True, second=False)


def test_the_gap_within_tasks_is_free_of_a_planted_composition():
    found = seen_gap(SIMPSON)
    assert found.pooled == pytest.approx((6 * 30 + 2 * 10) / 8 - (2 * 28 + 6 * 8) / 8)  # 25 - 13
    assert found.within.estimate == pytest.approx(2)
    assert found.composition == pytest.approx(10)
    last = found.tasks.iloc[-1]
    assert (last["task"], last["first"], last["second"], last["languages"]) == (ALL, 20, 18, "6 / 6")


def test_composition_can_turn_a_gap_around():
    turned = SIMPSON.assign(value=SIMPSON["value"].where(~SIMPSON["seen"], SIMPSON["value"] - 4))
    found = seen_gap(turned)
    assert found.pooled > 0 > found.within.estimate  # Simpson's paradox


def test_equal_composition_changes_nothing():
    both = SIMPSON[SIMPSON["language"].isin([*"abuv"])]
    assert seen_gap(both).composition == pytest.approx(0)


def test_one_task_with_a_language_each_is_welchs_interval():
    one = SIMPSON[SIMPSON["task"] == "easy"]
    seen, unseen = one.loc[one["seen"], "value"], one.loc[~one["seen"], "value"]
    found = seen_gap(one).within
    theirs = scipy_stats.ttest_ind(seen, unseen, equal_var=False)
    error = np.sqrt(seen.var() / 6 + unseen.var() / 2)
    assert (found.estimate, found.clusters) == (pytest.approx(2), 8)
    assert found.degrees == pytest.approx(min(theirs.df, found.degrees))
    half = scipy_stats.t.ppf(0.975, found.degrees) * error
    assert (found.low, found.high) == pytest.approx((2 - half, 2 + half))


def test_a_language_in_two_tasks_is_no_second_language():
    """The same numbers in another task, in the same languages, leave the interval as it is; in other languages they narrow it."""
    one = SIMPSON[SIMPSON["task"] == "easy"]
    again = pd.concat([one, one.assign(task="twin")])
    others = pd.concat([one, one.assign(task="twin", language=one["language"].str.upper())])
    width = {
        name: found.within.high - found.within.low
        for name, found in {"one": seen_gap(one), "same": seen_gap(again), "other": seen_gap(others)}.items()
    }
    assert width["same"] == pytest.approx(width["one"])
    assert width["other"] < 0.8 * width["one"]


@pytest.mark.parametrize(("share", "ratio"), [(0, 1), (1, 1), (0.5, 3)])
def test_intervals_over_languages_cover_the_truth(share, ratio):
    """Two tasks that share languages, and languages that matter in none, half or all of the variance."""
    cells = [(task, group) for task in (0, 1) for group, n in ((True, 7), (False, 5)) for _ in range(n)]
    languages = [*range(7), *range(10, 15), *range(3, 10), *range(13, 18)]
    weights = {cell: (1 if cell[1] else -1) / 2 for cell in cells}
    generator, scale = np.random.default_rng(0), np.array([1 if seen else ratio for _, seen in cells])
    hits = []
    for _ in range(400):
        own = generator.standard_normal(18)[languages]
        noise = generator.standard_normal(len(cells))
        found = cell_contrast(
            (np.sqrt(share) * own + np.sqrt(1 - share) * noise) * scale, cells, languages, weights
        )
        hits.append(found.low <= 0 <= found.high)
    assert 0.925 <= np.mean(hits) <= 0.98  # 400 draws: ± 2 points


def test_means_over_languages_count_each_task_equally():
    means = language_means(SIMPSON, ["seen"]).set_index("seen")
    assert means["mean"].to_dict() == {True: 20, False: 18}
    assert means.loc[True, "low"] < 20 < means.loc[True, "high"]
    assert means.loc[True, ["worst", "best", "languages"]].tolist() == [9, 32, 6]


def test_one_language_has_a_mean_and_no_interval():
    alone = language_means(SIMPSON[SIMPSON["language"] == "w"], ["seen"]).iloc[0]
    assert alone["mean"] == 8
    assert np.isnan(alone["low"])
    few = SIMPSON[SIMPSON["language"].isin([*"abu"])]
    by_hand = few[few["task"] == "easy"]
    with pytest.raises(BadInput, match="has one cluster"):
        seen_gap(by_hand)


def test_a_task_without_one_of_the_groups_and_doubled_values_are_refused():
    with pytest.raises(BadInput, match="languages of one group only"):
        seen_gap(SIMPSON[(SIMPSON["task"] == "easy") | SIMPSON["seen"]])
    with pytest.raises(BadInput, match="several values"):
        seen_gap(pd.concat([SIMPSON, SIMPSON.iloc[:1]]))
    with pytest.raises(BadInput, match="no weight for the cell 'b'"):
        cell_contrast([1, 2, 3, 4], [*"aabb"], [*"wxyz"], {"a": 1.0})
    with pytest.raises(BadInput, match="one of each"):
        cell_contrast([1, 2, 3], [*"aabb"], [*"wxyz"], {"a": 1.0})
