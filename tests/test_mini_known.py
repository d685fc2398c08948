"""What is known of the shipped miniatures: their committed answers, and the conditions that they do not meet."""

import pandas as pd
import pytest

from workbench.mini import check
from workbench.mini.check.answers import KEYS, MEANINGS
from workbench.records import data_path

COMMITTED = check.read_predictions(data_path("mini/predictions/seed-0.parquet"))


def test_the_committed_answers_are_judged_as_the_list_of_misses_says():
    known = check.known_misses()
    judged = check.judge(COMMITTED)
    assert check.surprises(judged, known[known["check"] != "e"]).empty


def test_the_second_seed_is_judged_as_its_list_says():
    again = check.judge(check.read_predictions(data_path("mini/predictions/seed-1.parquet")))
    known = pd.read_csv(data_path("mini/predictions/seed-1-misses.csv"))
    assert check.surprises(again, known).empty
    assert not check.surprises(check.judge(COMMITTED), known).empty  # the twin: the first seed misses others


def test_twin_a_member_at_chance_is_a_surprise():
    known = check.known_misses()
    spoilt = COMMITTED.copy()
    of_member = spoilt["member"] == "mini-bloomz"
    spoilt.loc[of_member, "correct"] = [place % 2 == 0 for place in range(int(of_member.sum()))]
    found = check.surprises(check.judge(spoilt), known[known["check"] != "e"])
    assert "fails" in set(found["surprise"])


def test_a_miss_that_holds_now_is_a_surprise_too():
    checks = pd.DataFrame({"check": ["a"], "side": ["bloom"], "what": ["x"], "holds": [True]})
    known = pd.DataFrame({"check": ["a"], "side": ["bloom"], "what": ["x"]})
    assert list(check.surprises(checks.astype({"holds": "boolean"}), known)["surprise"]) == ["holds now"]


@pytest.mark.parametrize("member", ["mini-bloomz", "mini-mt0"])
def test_the_shipped_weights_give_the_committed_answers(member):
    fresh = check.predictions(members=[member], tasks=("topic", "completion"))
    both = fresh[fresh["member"] == member].merge(
        COMMITTED, on=["member", *KEYS], suffixes=("", "_committed")
    )
    assert len(both) > 2 * MEANINGS * 11
    assert (both["correct"] == both["correct_committed"]).mean() > 0.99
    assert (both["margin"] - both["margin_committed"]).abs().max() < 1e-2
