"""Planted shares of variance come back, their intervals cover them, and k wordings are as far off as the curve says."""

from itertools import chain, combinations

import numpy as np
import pandas as pd
import pytest

from workbench import stats
from workbench.errors import BadInput
from workbench.studies import wording_variance

PLANTED = {(0,): 0.4, (1,): 0.2, (2,): 0.05, (0, 1): 0.15, (0, 1, 2): 0.2}
FACETS = ("item", "wording", "language")


def drawn(generator, shape, planted):
    """A table whose effects have the planted variances, drawn one by one."""
    table = np.zeros(shape)
    for effect in chain.from_iterable(combinations(range(len(shape)), size) for size in (1, 2, 3)):
        levels = [size if axis in effect else 1 for axis, size in enumerate(shape)]
        table = table + generator.normal(size=levels) * np.sqrt(planted.get(effect, 0.0))
    return table


def by_effect(found, values):
    return {tuple(map(FACETS.index, effect)): one for effect, one in zip(found.effects, values, strict=True)}


def test_planted_shares_are_recovered_within_a_tenth_and_covered():
    generator, shares, covered = np.random.default_rng(0), [], []
    for _ in range(200):
        table = drawn(generator, (24, 15, 6), PLANTED)
        found = stats.variance_components(table, FACETS, draws=1000)
        ends = by_effect(found, found.shares)
        shares.append([by_effect(found, found.variances)[effect] for effect in PLANTED])
        covered.append([ends[effect].low <= truth <= ends[effect].high for effect, truth in PLANTED.items()])
    assert np.mean(shares, axis=0) == pytest.approx(list(PLANTED.values()), rel=0.1)
    assert 0.93 <= np.mean(covered) <= 0.97
    assert (np.mean(covered, axis=0) > 0.9).all()


def test_an_effect_that_is_not_there_is_not_found_and_shuffling_takes_a_planted_one_away():
    generator = np.random.default_rng(1)
    table = drawn(generator, (40, 12, 4), PLANTED)
    shuffled = generator.permuted(table, axis=1)
    for cells, is_there in ((table, True), (shuffled, False)):
        found = stats.variance_components(cells, FACETS)
        assert (by_effect(found, found.shares)[(1,)].low > 0.02) == is_there


def test_variances_of_a_table_done_by_hand():
    """Two items, two wordings: mean squares 9, 1 and 1, so variances (9 - 1) / 2, (1 - 1) / 2 and 1."""
    found = stats.variance_components([[1, 3], [5, 5]], ["item", "wording"])
    assert found.mean_squares == pytest.approx((9, 1, 1))
    assert found.variances == pytest.approx((4, 0, 1))
    assert [share.estimate for share in found.shares] == pytest.approx([0.8, 0, 0.2])


@pytest.mark.parametrize("k", [2, 5])
def test_k_wordings_are_as_far_from_all_wordings_as_the_curve_says(k):
    generator = np.random.default_rng(2)
    table = drawn(generator, (30, 2000, 3), PLANTED)
    found = stats.variance_components(table[:, :200], FACETS, draws=10)
    means = table.mean(axis=(0, 2))
    picked = [means[generator.choice(2000, k, replace=False)].mean() for _ in range(3000)]
    said = found.error({"item": 30, "wording": k, "language": 3}, over=["wording"])
    assert np.std(picked) == pytest.approx(said, rel=0.12)


@pytest.mark.parametrize(
    ("outcomes", "facets", "said"),
    [
        (np.ones((3, 3)), ["item"], "one axis per facet"),
        (np.ones((3, 1)), ["item", "wording"], "two or more"),
        ([[1, np.nan], [1, 0]], ["item", "wording"], "must be complete"),
    ],
)
def test_tables_that_cannot_be_taken_apart_are_refused(outcomes, facets, said):
    with pytest.raises(BadInput, match=said):
        stats.variance_components(outcomes, facets)


def answers(seed=3, wordings=6):
    generator = np.random.default_rng(seed)
    effects = generator.normal(size=wordings)
    return pd.DataFrame(
        [
            {"task": "t", "cluster": c, "template": f"w{w}", "language": code, "scorer": "ranked",
             "correct": generator.random() < 1 / (1 + np.exp(-2 * effects[w]))}
            for c in range(30) for w in range(wordings) for code in ("en", "fr")
        ]
    )  # fmt: skip


def test_facets_with_one_level_are_left_out_and_a_planted_wording_effect_leads():
    table = wording_variance.variance_shares(answers()).set_index("effect")
    assert "scorer" not in " ".join(table.index)
    assert table.loc["template", "low"] > 0.05
    assert table.loc["cluster", "high"] < 0.1
    assert table["share"].sum() == pytest.approx(1)


def test_meanings_that_a_language_lacks_are_left_out():
    table = answers()
    part = table[~((table["cluster"] < 5) & (table["language"] == "fr"))]
    whole = wording_variance.components(table[table["cluster"] >= 5])
    assert wording_variance.components(part).variances == pytest.approx(whole.variances)


def test_more_wordings_come_nearer():
    found = wording_variance.components(answers())
    curve = wording_variance.design_curve(found, {"cluster": 30, "language": 2}, [1, 4, 16])
    assert (curve["plus_minus"] * np.sqrt(curve["wordings"])).to_numpy() == pytest.approx(
        curve["plus_minus"][0]
    )


def test_ranks_of_models_are_stable_where_templates_agree_and_not_where_they_do_not():
    models, generator = np.arange(8), np.random.default_rng(4)
    tables = [
        {"task": task, "config": "en", "template": t, "model": m, "value": float(m) if task == "same" else generator.random()}
        for task in ("same", "random") for t in "abcde" for m in models
    ]  # fmt: skip
    tau = wording_variance.rank_stability(pd.DataFrame(tables)).set_index("task")["tau"]
    assert tau["same"] == pytest.approx(1)
    assert abs(tau["random"]) < 0.4
