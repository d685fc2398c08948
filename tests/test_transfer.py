"""Gains are paired, chance-corrected, and averaged over the languages that were named."""

import numpy as np
import pandas as pd
import pytest

from workbench.errors import BadInput
from workbench.studies import transfer

LANGUAGES = ("x-en", "x-fr", "x-es")


def answers(probability, *, seed=0, meanings=60):
    """Right and wrong answers to parallel items; the same luck per item for every model, as a shared difficulty."""
    luck = np.random.default_rng(seed).random((meanings, len(LANGUAGES)))
    rows = [
        {
            "id": f"{m}|{code}",
            "task": "who",
            "template": "t",
            "language": code,
            "cluster": str(m),
            "choices": ["a", "b"],
            "correct": luck[m, k] < probability[code],
        }
        for m in range(meanings)
        for k, code in enumerate(LANGUAGES)
    ]
    return pd.DataFrame(rows)


@pytest.fixture
def paired():
    base = answers(dict.fromkeys(LANGUAGES, 0.5))
    return transfer.pair(base, answers({"x-en": 0.95, "x-fr": 0.8, "x-es": 0.5}))


def test_gains_are_differences_on_the_same_items(paired):
    table = transfer.gains(paired).set_index("language")
    assert table.loc["x-en", "gain"] == pytest.approx(
        table.loc["x-en", "finetuned"] - table.loc["x-en", "base"]
    )
    assert table.loc["x-en", "low"] > 0.2
    assert table.loc["x-es", "gain"] == 0  # the twin: the same answers, no gain
    assert (
        -0.1 < table.loc["x-es", "low"] < 0 < table.loc["x-es", "high"] < 0.1
    )  # of 60 meanings: not nothing


def test_chance_correction_counts_in_units_of_what_was_to_be_gained(paired):
    table = transfer.gains(paired).set_index("language")
    base, finetuned = table.loc["x-fr", ["base", "finetuned"]]
    assert table.loc["x-fr", "corrected"] == pytest.approx(2 * (finetuned - max(base, 0.5)))
    assert table.loc["x-fr", "above_chance"] == pytest.approx(2 * (table.loc["x-fr", "finetuned"] - 0.5))


def test_a_base_below_chance_leaves_no_more_to_gain_than_there_is():
    """From 0.2 to 1 with two choices is all that lies between chance and perfect, not 1.6 times that."""
    paired = transfer.pair(answers(dict.fromkeys(LANGUAGES, 0.2)), answers(dict.fromkeys(LANGUAGES, 1.0)))
    table = transfer.gains(paired)
    assert table["corrected"].tolist() == [1.0] * len(LANGUAGES)
    assert (table["gain"] / 0.5 > 1.3).all()  # what it was


def test_order_of_rows_does_not_matter(paired):
    base, finetuned = (
        answers(dict.fromkeys(LANGUAGES, 0.5)),
        answers({"x-en": 0.95, "x-fr": 0.8, "x-es": 0.5}),
    )
    again = transfer.pair(base, finetuned.sample(frac=1, random_state=1))
    pd.testing.assert_frame_equal(again, paired)


def test_different_items_are_refused():
    base = answers(dict.fromkeys(LANGUAGES, 0.5))
    with pytest.raises(BadInput, match="same items"):
        transfer.pair(base, base.iloc[1:])


def test_group_means_carry_their_spread_over_languages(paired):
    groups = {"x-en": "finetuned", "x-fr": "left out", "x-es": "left out"}
    table = transfer.group_means(transfer.gains(paired), groups).set_index("group")
    left_out = transfer.gains(paired).set_index("language")["gain"][["x-fr", "x-es"]]
    assert table.loc["left out", "mean"] == pytest.approx(left_out.mean())
    assert table.loc["left out", "spread"] == pytest.approx(left_out.std())
    assert table.loc["left out", "languages"] == 2
    assert table.loc["left out", ["worst", "best"]].tolist() == [left_out.min(), left_out.max()]


def test_a_language_without_a_group_is_refused(paired):
    with pytest.raises(BadInput, match="x-es"):
        transfer.group_means(transfer.gains(paired), {"x-en": "a", "x-fr": "b"})


def test_the_contrast_of_two_groups_finds_a_planted_gap_and_none_between_equals(paired):
    planted = transfer.contrast(paired, ["x-en"], ["x-es"])
    assert planted.low > 0.2
    same = transfer.contrast(paired, ["x-en", "x-fr"], ["x-fr", "x-en"])
    assert same.estimate == 0
    assert -0.1 < same.low < 0 < same.high < 0.1


def test_contrast_needs_parallel_meanings(paired):
    with pytest.raises(BadInput, match="same meanings"):
        transfer.contrast(paired[paired["id"] != "3|x-es"], ["x-en"], ["x-es"])


def test_two_tasks_may_ask_about_rows_of_one_name():
    """Names of CLDR are asked about in both directions, under one id."""
    one = answers(dict.fromkeys(LANGUAGES, 0.5), meanings=9)
    both = pd.concat([one, one.assign(task="whom", correct=True)], ignore_index=True)
    assert len(transfer.pair(both, both)) == 2 * 9 * len(LANGUAGES)
    with pytest.raises(BadInput, match="differ in repeated ids"):
        transfer.pair(pd.concat([one, one]), pd.concat([one, one]))
    with pytest.raises(BadInput, match=r"differ in \['whom 0.x-en'"):
        transfer.pair(both, one)
