"""Which items a limit takes: a draw that languages share and larger limits contain, whole sets of choices, and lengths that tell."""

import hashlib
import json

import pandas as pd
import pytest

from workbench.studies import sensitivity
from workbench.studies.evaluation import make_plan
from workbench.tasks import lexicon, read_any, read_data, read_texts, shared_meanings
from workbench.tasks.selection import select

WORDING = "[[template]]\nname = 'ask'\nlanguage = 'en'\njinja = '{{q}} ||| {{answer_choices[label]}}'\nanswer_choices = '{{a}} ||| {{b}}'\n"


def written(folder, rows):
    (folder / "mine.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (folder / "mine.toml").write_text(WORDING, encoding="utf-8")
    return folder / "mine.jsonl"


@pytest.fixture
def sorted_file(tmp_path):
    """A file whose first half has label 0 and the other label 1, in two languages."""
    rows = [
        {"q": f"{code}{n}?", "a": "x", "b": "y", "label": int(n >= 100), "language": code, "cluster": str(n)}
        for n in range(200)
        for code in ("fr", "sw")
    ]
    return written(tmp_path, rows)


def meanings(rows, code):
    return {row["cluster"] for row in rows if row["language"] == code}


def test_a_limit_of_a_sorted_file_is_no_longer_its_beginning(sorted_file):
    """The first rows of XCOPA in Thai had the shorter choice right in 71 %, all of them in 54 %."""
    drawn = read_any("mine", sorted_file, limit=40)
    assert 10 <= sum(row["label"] for row in drawn) / 2 <= 30
    first = select(read_any("mine", sorted_file), None, 40, "mine")
    assert sum(row["label"] for row in first) == 0


def test_a_draw_is_shared_by_languages_nested_and_of_its_seed_alone(sorted_file):
    some, more = (read_any("mine", sorted_file, limit=n) for n in (20, 50))
    assert meanings(some, "fr") == meanings(some, "sw") < meanings(more, "fr")
    assert meanings(read_any("mine", sorted_file, ["sw"], 20), "sw") == meanings(some, "sw")
    assert some == read_any("mine", sorted_file, limit=20)
    assert meanings(read_any("mine", sorted_file, limit=20, seed=1), "fr") != meanings(some, "fr")


@pytest.mark.parametrize("reader", [read_data, make_plan])
def test_notebooks_and_evaluations_draw_alike(sorted_file, reader):
    wordings = sorted_file.with_suffix(".toml")
    data = {"source": sorted_file} if reader is read_data else {"data": sorted_file}
    one = reader("mine", templates=wordings, limit=20, seed=3, **data)
    items = one.items() if reader is read_data else one.items
    drawn = read_any("mine", sorted_file, limit=20, seed=3)
    assert {(item.language, item.cluster) for item in items} == {(r["language"], r["cluster"]) for r in drawn}


def preferred(choices, rule):
    """A model that knows texts and no meaning: it scores a choice by its length, its place, or its letters."""
    scores = {
        "short": [-len(choice) for choice in choices],
        "long": [len(choice) for choice in choices],
        "first": [-place for place, _ in enumerate(choices)],
    }
    drawn = [hashlib.sha256(f"{rule}{choice}".encode()).digest() for choice in choices]
    return max(range(len(choices)), key=lambda n: (scores.get(rule, drawn)[n], drawn[n]))


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("rule", ["short", "long", "first", "some", "other"])
def test_a_model_that_knows_no_meaning_is_at_chance_in_every_language_of_the_lexicon(rule, shared):
    """A limit cut the sets of choices: intervals of 12 items then missed chance in 9 % of cells, and in whole runs together."""
    codes = ["fr", "sw", "th", "ru", "yo"]
    for task in ("lexicon/words", "lexicon/meanings"):
        rows = lexicon.rows(task, codes, 26, shared=shared)
        right = pd.Series([preferred(row["choices"], rule) == row["label"] for row in rows])
        assert set(right.groupby([row["language"] for row in rows]).mean()) == {0.25}
    every = lexicon.rows("lexicon/words", ["fr"])
    cut = [preferred(row["choices"], rule) == row["label"] for row in every[:26]]
    assert sum(cut) != 26 / 4


def test_languages_can_share_the_words_that_are_asked_about_and_their_sets():
    codes = ["th", "ru", "sw"]
    apart, together = (
        read_data("words", "lexicon", languages=codes, limit=20, shared=each) for each in (False, True)
    )
    assert together.is_parallel
    assert not apart.is_parallel
    assert len(together.rows) == len(apart.rows) == 60
    assert {row["set"] for row in together.rows if row["language"] == "th"} == {
        row["set"] for row in together.rows if row["language"] == "sw"
    }
    labels = {(row["cluster"], row["label"]) for row in together.rows}
    assert len(labels) == 20  # the right one stands in the same place


def test_where_languages_share_nothing_each_has_its_own():
    rows = read_data("words", "lexicon", languages=["ig", "th"], limit=8, shared=True).rows
    assert {row["language"] for row in rows} == {"ig", "th"}


def test_texts_are_drawn_among_the_meanings_that_all_languages_have(sorted_file):
    rows = [json.loads(line) | {"text": "t"} for line in sorted_file.read_text().splitlines()]
    written(sorted_file.parent, rows[:-40:2] + rows[1::2])  # French lacks the last twenty meanings
    texts = read_texts(sorted_file, limit=30, shared=True, seed=2).rows
    assert meanings(texts, "fr") == meanings(texts, "sw")
    assert len(texts) == 60
    assert texts == tuple(shared_meanings(read_texts(sorted_file).rows, 30, 2))


@pytest.mark.parametrize(("long_in", "tells"), [(1, True), (20, False)])
def test_a_plan_says_where_the_length_of_choices_tells_the_answer(tmp_path, long_in, tells):
    """In XCOPA's Estonian rows the shorter choice is right in 62 of 100: random weights, which prefer it, are not at chance."""
    both = {"a": "short", "b": "much longer", "language": "et"}
    rows = [{**both, "q": f"{n}?", "label": int(n < long_in)} for n in range(40)]
    plan = make_plan("mine", data=written(tmp_path, rows), templates=tmp_path / "mine.toml")
    assert any("in et the shortest choice is right" in each for each in plan.warnings) == tells


def test_the_shortest_choice_is_one_of_several():
    assert sensitivity.shortest_is_right(["aa", "b", "c"], 1) == 0.5
    assert sensitivity.shortest_is_right(["aa", "b", "c"], 0) == 0
    table = pd.DataFrame({"choices": [["a", "bb"], ["aa", "bb"]], "gold": [0, 1]})
    assert sensitivity.shortest(table) == 0.75
