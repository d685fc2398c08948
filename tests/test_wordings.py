"""What is chosen, filled in, read from wordings and scored: planted effects are found, luck is told from skill."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from test_sensitivity import ranked

from workbench import rank
from workbench.errors import BadInput
from workbench.prompts import Template, render_all
from workbench.studies import scorers, sensitivity, wording_choice, wording_features
from workbench.tasks import Item


def test_the_best_of_equal_wordings_is_luck_and_a_better_one_is_gain():
    generator = np.random.default_rng(0)
    equal = generator.random((60, 12)) < 0.6
    better = equal | ((np.arange(12) == 3) & (generator.random((60, 12)) < 0.8))
    table = wording_choice.best_on_half(pd.concat([ranked(equal), ranked(better, task="what")]))
    table = table.set_index("task")
    assert table.loc["who", "luck"] > 0.05 > abs(table.loc["who", "gain"])
    assert table.loc["what", "gain"] > 0.2
    assert (table["chosen_on"] >= table["judged_on"]).all()


def rasch(generator, items=60, wordings=30, spread=0.7):
    ability = generator.normal(size=wordings) * spread
    chance = 1 / (1 + np.exp(-(ability + generator.normal(size=(items, 1)) * 1.5)))
    return (generator.random((items, wordings)) < chance).astype(float)


def test_a_filled_matrix_comes_nearer_to_the_quantiles_than_the_few_cells_that_were_asked():
    table = rasch(np.random.default_rng(1))
    found = {part: wording_choice.quantiles_from_part(table, part, draws=8) for part in (0.1, 0.5)}
    errors = {part: one[["filled_error", "asked_error"]].mean() for part, one in found.items()}
    assert errors[0.1]["filled_error"] < 0.8 * errors[0.1]["asked_error"]
    assert errors[0.5]["filled_error"] < errors[0.1]["filled_error"]
    assert found[0.1]["truth"].tolist() == np.quantile(table.mean(axis=0), wording_choice.QUANTILES).tolist()


def test_wordings_that_are_always_right_are_filled_as_such_and_too_small_a_part_is_refused():
    found = wording_choice.quantiles_from_part(np.ones((10, 4)), 0.2)
    assert (found["filled"] == 1).all()
    with pytest.raises(BadInput, match="0 cells per wording"):
        wording_choice.quantiles_from_part(np.ones((10, 4)), 0.01)


@pytest.mark.parametrize(
    ("jinja", "choices", "does"),
    [
        ("Who has {{object}}? {{passage}}", "{{choice_0}} ||| {{choice_1}}", {"asks first"}),
        ("{{passage}} Who has {{object}}?", "{{choice_0}} ||| {{choice_1}}", set()),
        ("Text: {{passage}} Is the mood good or bad? Answer:", "good ||| bad", {"shows options", "ends with a cue"}),
        ("Question: Is it good or bad? Text: {{passage}} Answer:", "good ||| bad", {"asks first", "shows options", "ends with a cue"}),
        ("English: {{english}}\n{{language_name}}:", "{{choices | join(' ||| ')}}", {"ends with a cue", "names the language"}),
    ],
)  # fmt: skip
def test_features_are_read_from_a_wording(jinja, choices, does):
    template = Template("one", f"{jinja} ||| {{{{answer_choices[label]}}}}", choices)
    assert {name for name, has in wording_features.wording_features(template).items() if has} == does


def test_a_planted_effect_of_asking_first_is_found_over_wordings():
    generator = np.random.default_rng(2)
    first = np.arange(8) < 4
    table = ranked(generator.random((100, 8)) < np.where(first, 0.5, 0.9))
    ask = {True: "Who ran? {{passage}}", False: "{{passage}} Who ran?"}
    templates = {
        ("who", f"t{n}"): Template(f"t{n}", f"{ask[bool(one)]} ||| x") for n, one in enumerate(first)
    }
    (row,) = wording_features.feature_effects(table, templates).itertuples()
    assert (row.feature, row.wordings) == ("asks first", 4)
    assert row.low < -0.4 < row.high < -0.2


def test_formats_change_labels_and_nothing_else():
    template = Template("labelled", "Text: {{passage}} Question: Who ran? Answer: ||| {{name}}")
    row = {"passage": "Anna ran. Note: Ben sat.", "name": "Anna"}
    found = wording_features.formats(template)
    texts = [column[0].text for column in render_all(found, [row])]
    assert len(set(texts)) == 27
    assert texts[0] == "Text: Anna ran. Note: Ben sat. Question: Who ran? Answer:"
    assert "TEXT - Anna ran. Note: Ben sat. || QUESTION - Who ran? || ANSWER -" in texts
    assert all("Anna ran. Note: Ben sat." in text and "Who ran?" in text for text in texts)
    with pytest.raises(BadInput, match="no two labels"):
        wording_features.formats(replace(template, jinja="{{passage}} Who ran? ||| {{name}}"))


def test_an_answer_in_another_language_is_right_only_leniently(monkeypatch):
    items = [
        Item("a", "p", ("apple", "pear"), 0, "en", "t", "w", "m", "apple"),
        Item("b", "q", ("pomme", "poire"), 0, "fr", "t", "w", "m", "pomme"),
    ]
    table = pd.DataFrame(
        {
            "id": ["a", "b"],
            "task": "t",
            "template": "w",
            "prompt": ["p", "q"],
            "correct": [True, False],
            "language": ["en", "fr"],
        }
    )

    def by(*said):
        monkeypatch.setattr(scorers, "generate", lambda *_, **__: [SimpleNamespace(text=one) for one in said])
        found = scorers.by_scorer(None, items, table)
        return {name: group["correct"].tolist() for name, group in found.groupby("scorer")}

    found = by(" Apple.", "an apple")
    assert found == {"ranked": [True, False], "strict": [True, False], "lenient": [True, True]}
    assert by("apple or pear", "poire")["lenient"] == [False, False]
    assert by("pineapple", "")["lenient"] == [False, False]
    with pytest.raises(BadInput, match="the same, in the same order"):
        scorers.by_scorer(None, items[::-1], table)


def test_a_wording_that_leaves_no_room_for_an_answer_is_only_ranked(model):
    long = [
        Item(f"{name}{n}", prompt, ("a cat", "a dog"), 0, "en", "t", name, f"m{n}", "a cat")
        for name, prompt in (("short", "the cat"), ("long", "the cat " * 100))
        for n in range(2)
    ]
    found = scorers.by_scorer(model, long, rank(model, long, progress=False), progress=False)
    assert found.groupby("template")["scorer"].nunique().to_dict() == {"short": 3, "long": 1}


def test_quantiles_over_wordings_stand_beside_those_of_wordings_that_do_not_differ():
    generator = np.random.default_rng(3)
    equal = generator.random((60, 10)) < 0.7
    worse = equal & ((np.arange(10) != 4) | (generator.random((60, 10)) < 0.4))
    table = sensitivity.wording_quantiles(pd.concat([ranked(equal), ranked(worse, task="what")]))
    worst = table[table["quantile"] == 0].set_index("task")
    assert worst.loc["who", "null_low"] <= worst.loc["who", "accuracy"]
    assert worst.loc["what", "accuracy"] < worst.loc["what", "null_low"]
    assert (table["null_low"] <= table["null_mean"]).all()


def test_the_least_stable_item_leads_and_alpha_is_that_of_the_choices():
    matrix = [[1, 1, 1, 1], [0, 0, 0, 0], [1, 0, 1, 0], [1, 1, 1, 0]]
    table = sensitivity.least_stable(ranked(matrix).assign(prompt="Who?"), count=2)
    assert table["cluster"].tolist() == ["m2", "m3"]
    assert table["disagreement"].tolist() == pytest.approx([4 / 6, 3 / 6])
    row = sensitivity.agreement(ranked(matrix)).iloc[0]
    assert row["alpha"] == pytest.approx(1 - (7 / 24) / (2 * 9 * 7 / (16 * 15)))
    assert row["alpha_low"] <= row["alpha"] <= row["alpha_high"]


def test_a_model_that_always_takes_the_first_choice_is_biased_by_what_it_gets_wrong():
    table = ranked([[1, 1], [0, 0], [1, 0], [0, 1]]).assign(
        gold=[0, 0, 1, 1, 0, 0, 1, 1], prediction=[0, 1] * 4
    )
    found = sensitivity.label_bias(table).set_index("template")["bias"]
    assert found.to_dict() == {"t0": 0.5, "t1": -0.5}
