"""Measures of sensitivity find what was planted and nothing where nothing was."""

import numpy as np
import pandas as pd
import pytest

from workbench.errors import BadInput
from workbench.studies import sensitivity


def ranked(correct, *, language="x-en", clusters=None, task="who"):
    """A table as `rank` gives it, from a matrix items x templates of right and wrong."""
    clusters = clusters or [f"m{i}" for i in range(len(correct))]
    return pd.DataFrame(
        [
            {
                "id": f"{task}-{i}|{language}|t{j}",
                "task": task,
                "template": f"t{j}",
                "language": language,
                "cluster": clusters[i],
                "choices": ["a", "b"],
                "prediction": int(not right),
                "correct": bool(right),
            }
            for i, row in enumerate(correct)
            for j, right in enumerate(row)
        ]
    )


def test_accuracies_are_means_with_wilson_intervals():
    table = sensitivity.accuracies(ranked([[1, 0], [1, 0], [1, 1], [0, 0]]))
    assert table["accuracy"].tolist() == [0.75, 0.25]
    assert table["chance"].tolist() == [0.5, 0.5]
    assert (table["low"] > 0).all()
    assert (table["high"] < 1).all()


def test_repeated_meanings_widen_the_interval():
    matrix = np.repeat(np.random.default_rng(0).random((20, 1)) < 0.5, 4, axis=0)
    apart = sensitivity.accuracies(ranked(matrix), by=["language"])
    together = sensitivity.accuracies(
        ranked(matrix, clusters=[f"m{i // 4}" for i in range(80)]), by=["language"]
    )
    assert (together["high"] - together["low"])[0] > 1.5 * (apart["high"] - apart["low"])[0]


def test_a_planted_bad_wording_is_found_and_equal_wordings_are_not():
    generator = np.random.default_rng(1)
    easy = generator.random((80, 1)) < 0.7
    equal = np.where(generator.random((80, 4)) < 0.2, generator.random((80, 4)) < 0.5, easy)
    planted = equal & (np.arange(4) != 2) | equal & (generator.random((80, 4)) < 0.5)
    table = sensitivity.spreads(
        pd.concat([ranked(equal), ranked(planted, language="x-fr")]), permutations=400
    )
    found = table.set_index("language")
    assert found.loc["x-fr", "p_value"] < 0.01 > found.loc["x-fr", "p_cochran"]
    assert found.loc["x-en", "p_value"] > 0.05
    assert found.loc["x-fr", "excess"] > 0.1 > found.loc["x-en", "excess"]


def test_spread_is_between_the_best_and_the_worst_wording():
    row = sensitivity.spreads(ranked([[1, 0, 1], [1, 0, 0], [1, 1, 0], [0, 0, 0]]), permutations=20).iloc[0]
    assert (row["best"], row["worst"], row["spread"]) == (0.75, 0.25, 0.5)
    assert row["excess"] == pytest.approx(row["spread"] - row["null_mean"])


def test_meanings_with_several_items_are_shuffled_together_and_keep_the_accuracies():
    matrix = [[1, 0], [1, 0], [0, 1]]
    row = sensitivity.spreads(ranked(matrix, clusters=["a", "a", "b"]), permutations=20).iloc[0]
    assert row["spread"] == pytest.approx(1 / 3)
    assert row["n"] == 3


def test_agreement_counts_flips_and_pairs():
    row = sensitivity.agreement(ranked([[1, 1, 1], [0, 0, 0], [1, 0, 0], [1, 1, 0]])).iloc[0]
    assert row["flip_rate"] == 0.5
    assert row["pss"] == pytest.approx(np.mean([0, 0, 2 / 3, 2 / 3]))
    assert (row["always_right"], row["always_wrong"]) == (0.25, 0.25)


def test_agreement_looks_at_the_choice_and_not_only_at_being_right():
    table = ranked([[0, 0], [0, 0]]).assign(prediction=[1, 2, 1, 1])
    assert sensitivity.agreement(table).iloc[0]["flip_rate"] == 0.5
    assert sensitivity.agreement(table).iloc[0]["pss"] == 0


def test_an_incomplete_matrix_is_refused():
    with pytest.raises(BadInput, match="every template on every item"):
        sensitivity.outcome_matrix(ranked([[1, 0], [1, 1]]).iloc[:-1])


def test_several_languages_in_one_matrix_are_refused():
    with pytest.raises(BadInput, match="language"):
        sensitivity.outcome_matrix(pd.concat([ranked([[1, 0]]), ranked([[1, 0]], language="x-fr")]))
