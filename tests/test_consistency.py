"""RankC equals a slow loop, and agreement is corrected for what habits give."""

import numpy as np
import pandas as pd
import pytest

from workbench.errors import BadInput
from workbench.studies.consistency import consistency, rank_consistency


def slow_rank_consistency(first, second):
    """RankC as its definition reads: sets of the best j, one item at a time."""
    values = []
    for one, two in zip(first, second, strict=True):
        n = len(one)
        best = [sorted(range(n), key=lambda k, scores=scores: -scores[k]) for scores in (one, two)]
        weights = np.exp(np.arange(n, 0, -1)) / np.exp(np.arange(n, 0, -1)).sum()
        shares = [len({*best[0][:j]} & {*best[1][:j]}) / j for j in range(1, n + 1)]
        values.append(float(np.dot(weights, shares)))
    return values


@pytest.mark.parametrize("choices", [2, 3, 5, 9])
def test_rank_consistency_is_the_slow_loop(choices):
    generator = np.random.default_rng(choices)
    first, second = generator.standard_normal((2, 40, choices))
    assert rank_consistency(first, second) == pytest.approx(slow_rank_consistency(first, second))
    assert rank_consistency(first, first) == pytest.approx(1)
    assert rank_consistency(first, -first).mean() < rank_consistency(first, second).mean()


def ranked(scores, codes=("en", "fr"), gold=0):
    """A table of `rank`; scores: language -> items x choices."""
    rows = [
        {
            "task": "who",
            "template": "ask",
            "language": code,
            "cluster": f"m{number}",
            "choices": ["?"] * len(line),
            "gold": gold,
            "scores": list(line),
            "prediction": int(np.argmax(line)),
            "correct": int(np.argmax(line)) == gold,
        }
        for code in codes
        for number, line in enumerate(scores[code])
    ]
    return pd.DataFrame(rows)


def test_a_small_table_by_hand():
    """Ten items, two choices: both take the first in four, the second in three, and differ in three."""
    english = [[1, 0]] * 6 + [[0, 1]] * 4
    french = [[1, 0]] * 4 + [[0, 1]] * 2 + [[1, 0]] + [[0, 1]] * 3
    found = consistency(ranked({"en": english, "fr": french})).iloc[0]
    assert found["agreement"] == pytest.approx(0.7)
    assert found["expected"] == pytest.approx(0.6 * 0.5 + 0.4 * 0.5)
    assert found["kappa"] == pytest.approx(0.4)
    assert found["both_right"] == pytest.approx(0.4)
    assert found["low"] < 0.4 < found["high"]
    assert found["rankc"] == pytest.approx(0.7 + 0.3 * np.e / (1 + np.e) ** 1 / np.e)  # .27 where they differ


def test_a_model_with_one_answer_agrees_with_itself_and_is_not_consistent():
    """Both languages prefer the first choice in nine of ten items, each for reasons of its own."""
    generator = np.random.default_rng(0)
    scores = {
        code: np.stack([generator.random(800) < 0.9, np.full(800, 0.5)], axis=1) for code in ("en", "fr")
    }
    found = consistency(ranked(scores)).iloc[0]
    assert found["agreement"] > 0.8
    assert abs(found["kappa"]) < 0.1
    assert abs(found["rankc_beyond"]) < 0.1
    same = consistency(ranked({"en": scores["en"], "fr": scores["en"]})).iloc[0]
    assert (same["kappa"], same["rankc_beyond"]) == pytest.approx((1, 1))


def test_being_right_in_both_languages_is_not_yet_erring_alike():
    generator = np.random.default_rng(1)
    scores = {
        code: np.stack([generator.random(800) < 0.8, np.full(800, 0.5)], axis=1) for code in ("en", "fr")
    }
    found = consistency(ranked(scores)).iloc[0]
    assert found["both_right"] == pytest.approx(0.64, abs=0.04)
    assert abs(found["right_kappa"]) < 0.1


def test_the_interval_covers_a_planted_kappa():
    """A third of the items are hard in both languages alike; kappa is then that of shared items."""
    hits, generator = [], np.random.default_rng(2)
    for _ in range(150):
        shared, own = generator.random(60) < 0.5, generator.random((2, 60)) < 0.5
        copied = generator.random(60) < 0.5
        chosen = np.where(copied, shared, own)  # they agree on purpose in half the items
        scores = {code: np.stack([one, ~one], axis=1) for code, one in zip(("en", "fr"), chosen, strict=True)}
        found = consistency(ranked(scores)).iloc[0]
        hits.append(found["low"] <= 0.5 <= found["high"])
    assert 0.89 <= np.mean(hits) <= 1  # 150 draws: ± 4 points


def test_pairs_are_all_or_those_of_the_pivot():
    generator = np.random.default_rng(0)
    scores = {code: generator.random((6, 3)) for code in ("en", "fr", "sw")}
    table = ranked(scores, codes=tuple(scores))
    assert len(consistency(table)) == 3
    assert consistency(table, "sw")[["first", "second"]].to_numpy().tolist() == [["en", "sw"], ["fr", "sw"]]


def test_what_cannot_be_compared_is_refused():
    table = ranked({"en": [[1, 0]] * 3, "fr": [[1, 0]] * 3})
    with pytest.raises(BadInput, match="pivot 'de'"):
        consistency(table, "de")
    with pytest.raises(BadInput, match="asked twice"):
        consistency(pd.concat([table, table]))
    with pytest.raises(BadInput, match="differ in number or order between en and fr"):
        consistency(table.assign(gold=[0, 0, 0, 1, 1, 1]))
    with pytest.raises(BadInput, match="share no items"):
        consistency(table.assign(cluster=[*"abcdef"]))
    with pytest.raises(BadInput, match="same in both"):
        rank_consistency([[1, 2]], [[1, 2, 3]])
