"""Measures of sensitivity find what was planted and nothing where nothing was."""

import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from miniatures.world import read_world, sentence
from workbench.errors import BadInput
from workbench.studies import sensitivity
from workbench.tasks import Item, read_rows, read_sentences


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


def item(prompt, target="Anna", **more):
    return Item(
        id=prompt, prompt=prompt, choices=("Anna", "Ben"), gold=0, target=target, cluster=prompt, **more
    )


def outcomes(with_mark, without_mark, model="m"):
    rows = [{"model": model, "cluster": i, "mark": True, "answered": v} for i, v in enumerate(with_mark)]
    return pd.DataFrame(
        rows
        + [{"model": model, "cluster": i, "mark": False, "answered": v} for i, v in enumerate(without_mark)]
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


@pytest.mark.parametrize(
    ("prompt", "bare"),
    [("Who?", "Who"), ("Ben 走了。", "Ben 走了"), ("no mark", "no mark"), ("a.b .", "a.b"), ("वह ।", "वह")],
)
def test_marks_of_several_scripts_are_taken_away(prompt, bare):
    assert sensitivity.strip_mark(prompt) == bare


def test_a_pair_differs_only_in_the_mark():
    given = [item("Who ran?"), item("Translate: Anna ran")]
    closed, opened = sensitivity.mark_pair(given)
    assert [one.prompt for one in closed] == ["Who ran?", "Translate: Anna ran."]
    assert [one.prompt for one in opened] == ["Who ran", "Translate: Anna ran"]
    assert [replace(one, prompt="") for one in closed] == [replace(one, prompt="") for one in opened]
    assert sensitivity.mark_pair(given, mark="。")[0][0].prompt == "Who ran。"


def test_a_prompt_of_marks_only_is_refused():
    with pytest.raises(BadInput, match="without its mark"):
        sensitivity.mark_pair([item("...")])


def test_preference_is_per_token_so_length_does_not_decide():
    choices = sensitivity.against_continuation([item("Anna", target="Ben")], ["in the garden"])
    assert (choices[0].choices, choices[0].gold) == (("Ben", "in the garden"), 0)
    table = pd.DataFrame({"scores": [[-2.0, -6.0], [-3.0, -6.0]], "tokens": [[1, 3], [1, 4]]})
    assert sensitivity.answer_preference(table).tolist() == [0.0, -1.5]
    uneven = pd.DataFrame({"scores": [[-2.0, -6.0], [-3.0]], "tokens": [[1, 3], [1]]})
    with pytest.raises(BadInput, match=r"two choices per item, got \[1, 2\]"):
        sensitivity.answer_preference(uneven)


def test_a_continuation_that_is_the_answer_is_refused():
    with pytest.raises(BadInput, match="two texts"):
        sensitivity.against_continuation([item("Anna", target="Ben")], ["Ben"])


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("  ben. ", True),
        (". Ben.", True),
        ("。Ben", True),
        ("Ben Anna", False),
        (". Anna", False),
        ("", False),
    ],
)
def test_answers_are_compared_but_for_case_and_marks_at_either_end(text, right):
    """A model that closed the open prompt first (". Ben") was once counted as not having answered."""
    assert sensitivity.answered([text], ["Ben"]) == [right]


def test_marks_inside_an_answer_count():
    assert sensitivity.answered([". 3.5 kg."], ["3.5 kg"]) == [True]
    assert sensitivity.answered([". 35 kg."], ["3.5 kg"]) == [False]


def test_continuations_are_what_follows_the_last_word_elsewhere():
    texts = [
        "Anna has 3 balls.",
        "Ben has 5 balls in the park. Ben smiles.",
        "Eva has 2 balls in the park.",
        "Tom has balls on the hill.",
    ]
    found = sensitivity.continuations(texts, ["en"] * 4)
    assert found[0] == ["in the park", "on the hill"]
    assert found[2] == []  # "park" only ends sentences
    assert sensitivity.continuations(texts, ["a", "b", "c", "d"])[0] == []  # other languages do not count


def texts_of(language):
    rows = read_rows("translation", languages=["x-fr" if language == "x-en" else language])
    return [row["text" if language != "x-en" else "target"] for row in rows if row["id"].endswith("-to")]


def split_at_spaces(texts):
    """What `continuations` is where words have spaces between them, in a slow loop."""
    found = []
    for text in texts:
        last, ways = sensitivity.strip_mark(text).split()[-1], Counter()
        for told in re.split(r"(?<=\.) ", " ".join(texts)):
            words = told.removesuffix(".").split()
            ways.update(" ".join(words[n + 1 :]) for n, word in enumerate(words[:-1]) if word == last)
        found.append(ways)
    return found


@pytest.mark.parametrize("language", ["x-en", "x-fr", "x-sw", "x-en00r"])
def test_continuations_of_languages_with_spaces_are_those_of_a_slow_loop(language):
    texts = texts_of(language)
    found, slow = sensitivity.continuations(texts, [language] * len(texts)), split_at_spaces(texts)
    assert [set(ways) for ways in found] == [set(ways) for ways in slow]
    assert all(
        [counts[way] for way in ways] == sorted(counts.values(), reverse=True)
        for ways, counts in zip(found, slow, strict=True)
    )


def test_chinese_texts_go_on_after_words_that_no_space_ends():
    texts = ["Anna 有 3 个球。", "Ben 在花园里有 5 个球。", "Eva 把球给 Ben。Tom 在花园里。"]
    found = sensitivity.continuations(texts, ["zh"] * 3)
    assert found[0] == found[1] == ["给 Ben"]
    assert found[2] == ["有 5 个球"]  # and not "给 Ben。Tom …": a stop ends a sentence without a space


def test_every_place_of_the_chinese_world_is_where_a_text_goes_on():
    """Chinese says the place before the verb: "Anna 在花园里。" can go on as "Ben 在花园里有 3 个球。" does."""
    world, told = (
        read_world(),
        [one for one in read_sentences(languages=["x-zh"]) if one["kind"] == "owns_at"],
    )
    places = sorted({one["place"] for one in told})
    ends = [world.say(sentence("person_at", person="Anna", place=place), "x-zh") for place in places]
    texts = [*ends, *(one["text"] for one in told)]
    found = sensitivity.continuations(texts, ["x-zh"] * len(texts))
    for end, ways in zip(ends, found, strict=False):
        assert ways
        assert all(end.removesuffix("。").split()[1] + way in " ".join(texts) for way in ways)
    assert not any(found[len(ends) :])  # a thing is the last word wherever it is said


def test_continuing_in_chinese_is_starting_with_the_first_word_and_not_with_all_up_to_a_space():
    way, target = [["花园里有 3 个苹果"]], ["Anna"]
    assert sensitivity.continued(["花园里跳舞"], target, way) == [True]
    assert sensitivity.continued(["跳舞。"], target, way) == [False]
    assert sensitivity.continued(["花园里跳舞"], ["花园里"], way) == [False]


def test_continuing_is_starting_with_the_first_word_of_a_continuation():
    texts = ["in the park", ". Ben", "Ben is in", "le parc", ""]
    ways = [["on it", "in the garden"]] * 5
    assert sensitivity.continued(texts, ["Ben"] * 5, ways) == [True, False, False, False, False]
    assert sensitivity.continued(["in"], ["in Rome"], [["in the garden"]]) == [
        False
    ]  # the answer starts so too


@pytest.mark.parametrize(
    ("text", "opens"),
    [(". Ben", True), (" 。Ben", True), ("Ben.", False), ("in the park.", False), ("", False)],
)
def test_an_output_that_closes_the_prompt_first_opens_with_a_mark_and_adds_no_words(text, opens):
    assert sensitivity.opens_with_mark(text) == opens
    assert not (opens and sensitivity.continued([text], ["Ben"], [["in the garden", "."]])[0])


def test_a_planted_effect_of_the_mark_is_found_and_none_is_not():
    generator = np.random.default_rng(2)
    without = generator.random(80) < 0.4
    helped = without | (generator.random(80) < 0.6)
    both = pd.concat([outcomes(helped, without, "bloom"), outcomes(without, without, "mt0")])
    table = sensitivity.mark_effects(both, ["answered"]).set_index("model")
    assert table.loc["bloom", "low"] > 0.1
    assert table.loc["bloom", "p_value"] < 0.001
    assert table.loc["mt0", "effect"] == 0
    assert table.loc["mt0", "p_value"] == 1


def test_measures_that_are_not_yes_or_no_have_no_mcnemar():
    table = sensitivity.mark_effects(outcomes([0.5, 1.0, 2.0], [0.0, 0.5, 1.0]), ["answered"])
    assert table["p_value"].isna().all()
    assert table["effect"][0] == pytest.approx(2 / 3)


def test_meanings_asked_more_than_once_get_an_interval_and_no_mcnemar():
    table = outcomes([1, 0, 1, 1], [0, 0, 1, 0]).assign(cluster=lambda t: t["cluster"] // 2)
    effect = sensitivity.mark_effects(table, ["answered"])
    assert effect["p_value"].isna().all()
    assert effect["effect"][0] == 0.5


def test_unpaired_prompts_are_refused():
    table = outcomes([1, 0, 1], [1, 0, 1])
    table.loc[3, "cluster"] = 99
    with pytest.raises(BadInput, match="same order"):
        sensitivity.mark_effects(table, ["answered"])
