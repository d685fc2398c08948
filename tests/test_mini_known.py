"""What is known of the shipped miniatures and of a second seed: their committed answers, and how they are judged."""

import pandas as pd
import pytest

from miniatures import check
from miniatures.check.answers import KEYS, MEANINGS
from miniatures.check.sides import SIDES
from workbench.paths import data_path

COMMITTED = check.read_predictions(data_path("mini/predictions/seed-0.parquet"))
CONDITION = ["check", "side", "what"]
MEMBERS = [name for side in SIDES for name in side.members()]


def failing(predicted):
    return set(check.failed(check.judge(predicted))[CONDITION].itertuples(index=False, name=None))


def test_the_members_that_ship_meet_every_condition():
    assert failing(COMMITTED) == set()


def test_twin_a_member_at_chance_does_not():
    spoilt = COMMITTED.copy()
    of_member = spoilt["member"] == "mini-bloomz"
    spoilt.loc[of_member, "correct"] = [place % 2 == 0 for place in range(int(of_member.sum()))]
    assert ("a", "bloom", "mini-bloomz: accuracy, at least") in failing(spoilt)


def test_the_second_seed_misses_what_its_list_says():
    again = check.read_predictions(data_path("mini/predictions/seed-1.parquet"))
    known = pd.read_csv(data_path("mini/predictions/seed-1-misses.csv"))[CONDITION]
    assert failing(again) == set(known.itertuples(index=False, name=None))


def test_the_probes_of_the_members_that_ship_meet_theirs():
    probes = check.probes()
    assert probes["holds"].notna().sum() == 8
    assert check.failed(probes).empty


@pytest.fixture(scope="module")
def fresh():
    """The answers of all members to two tasks, computed now; the baselines, which are fitted, are asked once."""
    return check.predictions(members=MEMBERS, tasks=("topic", "completion"))


@pytest.mark.parametrize("member", MEMBERS)
def test_the_shipped_weights_give_the_committed_answers(member, fresh):
    both = fresh[fresh["member"] == member].merge(
        COMMITTED, on=["member", *KEYS], suffixes=("", "_committed")
    )
    assert len(both) > 2 * MEANINGS * 11
    assert (both["correct"] == both["correct_committed"]).mean() > 0.99
    assert (both["margin"] - both["margin_committed"]).abs().max() < 1e-2
