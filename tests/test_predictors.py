"""Planted predictors are found, null ones are not, and p-values are those of counting by hand."""

from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata, spearmanr

from workbench.errors import BadInput
from workbench.stats.permutation import rank_association
from workbench.studies.predictors import language_facts, parity, predict, within_task_outcome

CODES = [*"abcdefghijkl"]


def by_counting(x, y):
    """The share of all arrangements whose correlation is as far from 0, one by one."""
    ranks = rankdata(y)
    observed = abs(np.corrcoef(rankdata(x), ranks)[0, 1])
    found = [abs(np.corrcoef(rankdata(line), ranks)[0, 1]) >= observed - 1e-9 for line in permutations(x)]
    return np.mean(found)


@pytest.mark.parametrize("x", [[1, 4, 2, 3, 6], [0, 1, 1, 0, 1], [1, 1, 2, 3, 3]])
def test_the_p_value_is_that_of_counting_all_arrangements(x):
    y = [0.1, 0.9, 0.4, 0.3, 0.8]
    found = rank_association(x, y, [*"abcde"])
    assert found.exact
    assert found.p_value == pytest.approx(by_counting(x, y))
    assert found.correlation == pytest.approx(spearmanr(x, y).statistic)


def test_a_sample_of_arrangements_comes_near_all_of_them():
    generator = np.random.default_rng(3)
    x, y = generator.random(7), generator.random(7)
    every, some = (rank_association(x, y, CODES[:7], arrangements=n) for n in (50_000, 4_000))
    assert every.exact
    assert not some.exact
    assert some.p_value == pytest.approx(every.p_value, abs=0.03)


def test_leaving_out_one_row_shows_what_hangs_on_it():
    line = rank_association([1, 2, 3, 4, 5, 6], [3, 1, 2, 2.5, 1.5, 9], [*"abcdef"])
    assert line.without == "f"
    assert line.lowest < 0 < line.correlation
    steady = rank_association(range(6), range(6), [*"abcdef"])
    assert (steady.lowest, steady.highest) == (1, 1)


def test_the_test_holds_its_level_and_has_power():
    generator = np.random.default_rng(0)
    null, planted = [], []
    for _ in range(200):
        x = generator.random(10) < 0.5
        if 0 < x.sum() < 10:
            noise = generator.standard_normal(10)
            null.append(rank_association(x, noise, CODES[:10]).p_value <= 0.05)
            planted.append(rank_association(x, noise + 3 * x, CODES[:10]).p_value <= 0.05)
    assert np.mean(null) <= 0.08
    assert np.mean(planted) > 0.6


def test_planted_predictors_are_found_among_null_ones():
    generator = np.random.default_rng(1)
    facts = pd.DataFrame(
        {"language": CODES, **{name: generator.random(12) for name in ("near", "web", "x", "y")}}
    )
    outcome = pd.Series(facts["web"].to_numpy() + 0.1 * generator.standard_normal(12), index=CODES)
    found = predict(outcome, facts.assign(same=1.0), ["near", "web", "x", "y", "same"]).set_index("predictor")
    assert found.index[found["p_holm"] < 0.05].tolist() == ["web"]
    assert found.loc["web", "correlation"] > 0.8
    assert np.isnan(found.loc["same", "p_value"])  # no variation, no test
    assert found.loc["web", "p_holm"] == pytest.approx(4 * found.loc["web", "p_value"])  # four were tested


def test_languages_without_a_fact_are_left_out():
    facts = pd.DataFrame({"language": CODES, "web": [np.nan, *range(11)]})
    outcome = pd.Series(range(12), index=CODES, dtype=float)
    found = predict(outcome, facts, ["web"]).iloc[0]
    assert found["languages"] == 11
    assert found["correlation"] == 1


def test_the_outcome_is_free_of_the_tasks_that_a_language_is_in():
    """`u` is only in the easy task and `d` only in the hard one; within task both are average."""
    rows = [
        ("easy", "u", 30),
        ("easy", "a", 29),
        ("easy", "b", 31),
        ("hard", "d", 10),
        ("hard", "a", 9),
        ("hard", "b", 11),
    ]
    table = pd.DataFrame(rows, columns=["task", "language", "value"])
    assert within_task_outcome(table).to_dict() == {"a": -1, "b": 1, "d": 0, "u": 0}
    grouped = table.assign(side=table["language"].isin(["a", "b"]))
    assert within_task_outcome(grouped, group="side").to_dict() == {"a": -1, "b": 1, "d": 0, "u": 0}


def test_facts_come_from_the_tables():
    facts = language_facts(["fr", "sw", "th", "x-fr"]).set_index("language")
    assert facts["latin"].tolist()[:3] == [1, 1, 0]
    assert facts.loc["fr", "roots"] == pytest.approx(np.log10(12.89844))
    assert facts.loc["th", ["roots", "xp3", "related"]].isna().all()
    assert facts.loc["fr", "related"] == 1  # Spanish is in xP3
    assert language_facts(["fr"], ["fr", "zh"])["related"].item() == 0
    assert facts.loc["x-fr"].isna().all()


def test_parity_is_tokens_over_those_of_the_pivot():
    found = parity({"en": [2, 2], "th": [6, 2]}, "en")
    assert found.to_dict() == {"en": 1, "th": 2}
    with pytest.raises(BadInput, match="same texts"):
        parity({"en": [2, 2], "th": [6]}, "en")
    with pytest.raises(BadInput, match="pivot 'en'"):
        parity({"th": [6]}, "en")


def test_what_cannot_be_tested_is_refused():
    with pytest.raises(BadInput, match="four rows"):
        rank_association([1, 2, 3], [1, 2, 3], [*"abc"])
    with pytest.raises(BadInput, match="same value in all rows"):
        rank_association([1, 1, 1, 1], [1, 2, 3, 4], [*"abcd"])
    with pytest.raises(BadInput, match="no predictor 'genus'"):
        predict(pd.Series({"a": 1.0}), pd.DataFrame({"language": ["a"]}), ["genus"])
