"""The published table is whole, agrees with itself and with what the paper's figures show."""

import pandas as pd
import pytest

from workbench.errors import UnknownName
from workbench.studies import published


def rederived(table):
    """Medians and maxima from single-template scores, joined with those the authors printed."""
    keys = ["model", "task", "config"]
    templates = table[table["statistic"] == "template"]
    ours = templates.groupby(keys)["value"].agg(["median", "max"]).stack().rename("ours")
    theirs = table[(table["statistic"] != "template") & (table["prompt_language"] == "en")]
    return (
        theirs.set_index([*keys, "statistic"])["value"]
        .to_frame("theirs")
        .join(ours.rename_axis([*keys, "statistic"]), how="inner")
    )


def mean_of_seen(model, task):
    table = published.results(models=model, tasks=task, prompt_language="en", statistic="median")
    means = published.seen_means(table).set_index("seen")["mean"]
    return means[True], means[False]


def test_the_table_has_every_row_once():
    table = published.results()
    assert len(table) == 6964
    assert table["model"].nunique() == 27
    assert not table.duplicated(["model", "task", "config", "prompt_language", "statistic", "template"]).any()


def test_all_664_medians_and_maxima_follow_from_single_template_scores():
    both = rederived(published.results())
    assert len(both) == 664
    assert (both["ours"] - both["theirs"]).abs().max() < 0.006  # they are rounded to two decimals


def test_a_changed_score_would_be_noticed():
    table = published.results()
    row = table.index[(table["statistic"] == "max") & (table["model"] == "bloomz")][0]
    table.loc[row, "value"] += 0.1
    both = rederived(table)
    assert (both["ours"] - both["theirs"]).abs().max() > 0.05


def test_every_accuracy_is_a_whole_number_of_items():
    table = published.results()
    items = table["value"] / 100 * table["n_items"]
    nearest = items.round() / table["n_items"] * 100
    assert (nearest - table["value"]).abs().max() < 0.006
    wrong = (table["value"] / 100 * 97).round() / 97 * 100
    assert (wrong - table["value"]).abs().max() > 0.1  # the twin: 97 items would not fit


@pytest.mark.parametrize(
    ("model", "task", "seen", "unseen"),
    [
        ("bloomz", "xnli", 55.3, 47.1),
        ("bloomz-p3", "xnli", 47.4, 41.3),
        ("bloomz", "xcopa", 75.2, 55.3),
        ("mt0-xxl", "xstory_cloze", 88.0, 85.1),
        ("bloomz-560m", "xnli", 41.5, 36.8),
        ("mt0-xxl-p3", "xwinograd", 57.5, 58.4),
    ],
)
def test_means_over_languages_are_those_of_the_papers_figure(model, task, seen, unseen):
    assert mean_of_seen(model, task) == pytest.approx((seen, unseen), abs=0.051)  # printed to one decimal


@pytest.mark.parametrize(
    ("model", "completion"), [("bloom", 52.9), ("bloomz-p3", 80.5), ("bloomz", 82.6), ("mt0-xxl", 86.0)]
)
def test_sentence_completion_is_that_of_figure_4(model, completion):
    table = published.results(
        models=model, tasks=["xcopa", "xstory_cloze"], prompt_language="en", statistic="median"
    )
    assert round(table.loc[table["seen"], "value"].mean(), 1) == completion


def test_seen_languages_are_those_the_paper_lists():
    table = published.results(tasks=published.CROSSLINGUAL_TASKS)
    unseen = table[~table["seen"]].groupby("task")["language"].agg(lambda codes: " ".join(sorted(set(codes))))
    assert unseen.to_dict() == {
        "xcopa": "et ht it qu th tr",
        "xnli": "bg de el ru th tr",
        "xstory_cloze": "my ru",
        "xwinograd": "ja ru",
    }


def test_pretraining_is_marked_per_side():
    table = published.results(tasks="xcopa", languages=["qu", "th"], statistic="median", prompt_language="en")
    marks = table.set_index(["model", "language"])["pretrained"]
    assert bool(marks["mt0-xxl", "th"])
    assert not marks["mt0-xxl", "qu"]
    assert not marks["bloomz", "th"]
    assert table.loc[table["side"] == "other", "pretrained"].isna().all()


def test_spreads_are_over_five_templates_and_stand_beside_chance():
    spreads = published.template_spreads(published.results(statistic="template"))
    assert len(spreads) == 332
    assert set(spreads["templates"]) == {5}
    means = spreads.groupby("task")[["spread", "null"]].mean()
    assert means["spread"][["xcopa", "xnli", "xstory_cloze"]].round(1).tolist() == [11.1, 10.0, 15.7]
    assert means["null"][["xcopa", "xnli", "xstory_cloze"]].round(1).tolist() == [11.1, 2.3, 2.7]
    assert (spreads["null_high"] > spreads["null"]).all()


def test_shared_cells_are_the_same_for_every_model_and_as_many_as_most_have():
    table = published.results(statistic="template")
    shared = published.shared_cells(table)
    cells = shared.groupby("model")[["task", "config"]].apply(
        lambda rows: frozenset(rows.value_counts().index)
    )
    assert len(cells) == 8
    assert {len(one) for one in cells} == {24}
    assert cells.nunique() == 1
    assert not {"mt0-xxl-p3", "bloom-7b1"} & set(cells.index)  # English alone, unseen languages alone
    assert table.groupby("model")["config"].nunique().nunique() > 1  # the twin: all cells differ by model


def test_a_model_scored_in_a_language_of_its_own_is_not_compared():
    """Means over one easy language once stood beside means over many, in one column of a figure."""
    rows = {
        "model": [*"abbcc"],
        "config": ["en", "fr", "de", "fr", "de"],
        "value": [90, 50, 60, 40, 50],
    }
    table = pd.DataFrame(rows).assign(task="xnli")
    assert table.groupby("model")["value"].mean().idxmax() == "a"
    shared = published.shared_cells(table)
    assert shared.groupby("model")["value"].mean().to_dict() == {"b": 55, "c": 45}


def test_a_collapse_needs_a_worst_template_within_reach_of_chance_and_a_median_far_above():
    cells = published.collapses()
    assert len(cells) == 332
    lost = cells[cells["collapses"]]
    assert len(lost) == 32
    assert lost.loc[lost["model"] == "mt0-xxl", "task"].value_counts()["xnli"] == 9
    assert (lost["worst"] <= lost["reach"]).all()
    assert (lost["median"] - lost["worst"] >= 15).all()
    below = cells[(cells["model"] == "T0") & (cells["config"] == "cb")].iloc[0]
    assert below["collapses"]
    assert below["worst"] < below["floor"]  # further from chance than guessing goes
    assert published.collapses(drop=60)["collapses"].sum() == 2  # CB with two models


def test_chance_reaches_further_with_fewer_items():
    cells = published.collapses().drop_duplicates(["task", "config"]).set_index(["task", "config"])
    assert cells.loc[("xcopa", "sw"), "reach"] == pytest.approx(50 + 1.96 * 5)  # 100 items
    assert cells.loc[("xnli", "sw"), "reach"] == pytest.approx(35.18, abs=0.01)  # 2,490


def test_differences_are_taken_cell_by_cell():
    table = published.results(tasks="xnli", statistic="median")
    found = published.differences(table, {"bloomz": "bloom", "bloomz-p3": "bloomz"})
    cell = found[
        (found["model"] == "bloomz-p3") & (found["language"] == "sw") & (found["prompt_language"] == "en")
    ]
    level = table[(table["language"] == "sw") & (table["prompt_language"] == "en")].set_index("model")[
        "value"
    ]
    assert cell["value"].item() == pytest.approx(level["bloomz-p3"] - level["bloomz"])
    assert (published.differences(table, {"bloom": "bloom"})["value"] == 0).all()
    assert (found["value"] != 0).any()


def test_cells_that_one_of_two_models_lacks_are_left_out():
    table = published.results(prompt_language="ht", tasks="xcopa")
    assert set(table["model"]) == {"bloomz-7b1", "bloomz-7b1-p3"}
    assert published.differences(table, {"bloomz": "bloom"}).empty
    assert not published.differences(table, {"bloomz-7b1-p3": "bloomz-7b1"}).empty


def test_filters_combine_and_leave_the_cached_table_alone():
    table = published.results(
        side="mt0", tasks="xnli", languages="fr", statistic="max", prompt_language=["mt", "ht"]
    )
    assert set(table["config"]) == {"fr"}
    assert set(table["prompt_language"]) == {"mt", "ht"}
    table["value"] = 0.0
    assert published.results(side="mt0")["value"].min() > 0


@pytest.mark.parametrize(
    ("column", "value"), [("models", "bloomz-9b"), ("tasks", "xnly"), ("prompt_language", "de")]
)
def test_a_filter_that_matches_nothing_is_a_mistake(column, value):
    with pytest.raises(UnknownName, match="they have"):
        published.results(**{column: value})
