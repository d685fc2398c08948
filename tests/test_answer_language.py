"""The language of an answer is told where it can be told, and nowhere else."""

from importlib.util import find_spec

import pandas as pd
import pytest

from workbench.errors import BadInput
from workbench.studies.answer_language import (
    answer_languages,
    identifying,
    judge_answers,
    known_texts,
    language_accuracy,
    language_matrix,
    right_answers,
)
from workbench.tasks import read_data, read_texts

WORLD = ["x-en", "x-fr", "x-es", "x-pt", "x-zh", "x-id", "x-sw", "x-en30", "x-en00r"]
needs_lingua = pytest.mark.skipif(
    find_spec("lingua") is None, reason="needs lingua-language-detector: pip install '.[language-id]'"
)


@pytest.fixture(scope="module")
def known():
    return known_texts(read_texts("miniature", languages=WORLD).rows)


def languages(answers, candidates, **how):
    return [one.language for one in answer_languages(answers, candidates, **how)]


def test_texts_of_a_closed_world_that_were_not_seen_are_in_their_language(known):
    rows = [row for row in read_data("translation", languages=WORLD[1:]).rows if row["id"].endswith("-to")]
    told = answer_languages([row["text"] for row in rows], WORLD, known=known)
    open_ones = [one.among for row, one in zip(rows, told, strict=True) if one.language != row["language"]]
    assert len(rows) == 48 * 8
    assert set(open_ones) == {("x-en", "x-en30")}  # "Ben has 3 oranges." is a sentence of both
    assert len(open_ones) < 48 / 4


def test_twin_without_the_words_of_the_world_only_its_script_is_told(known):
    few = {code: texts[:1] for code, texts in known.items()}
    told = answer_languages(["manzanas", "在花园里"], ["x-es", "x-zh", "x-fr"], known=few)
    assert [(one.language, one.by) for one in told] == [("undetermined", ""), ("x-zh", "script")]


def test_a_word_that_languages_spell_alike_is_undetermined_among_them(known):
    for word, among in (
        ("canta", {"x-es", "x-pt"}),
        ("oranges", {"x-en", "x-fr", "x-en30"}),
        ("Anna", {*WORLD}),
    ):
        (told,) = answer_languages([f" {word}. "], WORLD, known=known)
        assert (told.language, told.by, set(told.among)) == ("undetermined", "", among)


def test_the_language_of_most_words_is_told_of_a_mixed_answer_and_a_tie_is_not(known):
    told = languages(["pommes dans le jardin cups", "pommes cups"], WORLD, known=known)
    assert told == ["x-fr", "undetermined"]


@pytest.mark.parametrize(
    ("answer", "language", "by"),
    [
        ("Россия", "ru", "script"),
        ("にほん", "ja", "script"),
        ("日本", "undetermined", ""),
        ("NASA (भारत)", "hi", "script"),
        ("பாரதம்", "other", ""),
        ("Allemagne", "fr", "words"),
        ("allemagne!", "fr", "words"),
        ("Ａｌｌｅｍａｇｎｅ", "undetermined", ""),
        ("Angola", "undetermined", ""),
        ("12 . ?", "empty", ""),
        ("", "empty", ""),
    ],
)
def test_real_answers_by_script_and_by_the_names_of_cldr(answer, language, by):
    candidates = ["en", "fr", "ru", "zh", "ja", "hi"]
    (told,) = answer_languages(
        [answer], candidates, known=known_texts(read_texts("lexicon", languages=candidates).rows)
    )
    assert (told.language, told.by) == (language, by)


def test_scripts_of_real_languages_need_no_words_and_those_of_others_do():
    assert languages(["ประเทศ", "le chat"], ["th", "en", "fr"]) == ["th", "undetermined"]
    with pytest.raises(BadInput, match=r"'x-fr'.*known="):
        answer_languages(["a"], ["x-fr", "en"])
    with pytest.raises(BadInput, match="two languages"):
        answer_languages(["a"], ["en", "en"])


def test_an_identifier_that_is_not_installed_is_refused_and_not_passed_over(monkeypatch):
    monkeypatch.setattr(identifying, "find_spec", lambda _: None)
    identifying._lingua.cache_clear()
    with pytest.raises(BadInput, match="language-id"):
        answer_languages(["the cat"], ["en", "fr"], identifier="lingua")
    assert languages(["кот"], ["en", "ru"], identifier="lingua") == ["ru"]  # it is not needed


@needs_lingua
def test_lingua_tells_what_script_and_words_leave_open_and_is_not_asked_about_languages_it_lacks():
    told = answer_languages(["in the garden", "dans le jardin", "x"], ["en", "fr"], identifier="lingua")
    assert [(one.language, one.by) for one in told] == [("en", "identifier"), ("fr", "identifier"), ("undetermined", "")]  # fmt: skip
    assert languages(["le jardin"], ["en", "fr", "wo"], identifier="lingua") == ["undetermined"]


@needs_lingua
def test_lingua_is_right_about_single_words_of_which_it_is_sure():
    spoken = {"en": set(), "fr": set()}
    for row in read_texts("parallel", languages=[*spoken]).rows:
        spoken[row["language"]].update(identifying._words(row["text"]))
    words = [
        (code, word) for code in spoken for word in spoken[code] - spoken[{"en": "fr", "fr": "en"}[code]]
    ]
    told = languages([word for _, word in words], ["en", "fr"], identifier="lingua")
    sure = [code == said for (code, _), said in zip(words, told, strict=True) if said != "undetermined"]
    assert len(sure) > 0.65 * len(words)
    assert sum(sure) > 0.97 * len(sure)


RIGHT = right_answers(
    [
        {"cluster": "a", "language": "x-en", "text": "apples"},
        {"cluster": "a", "language": "x-es", "text": "manzanas", "accepted": ["pomas"]},
        {"cluster": "b", "language": "x-en", "text": "sings"},
        {"cluster": "b", "language": "x-es", "text": "canta"},
        {"cluster": "b", "language": "x-pt", "text": "canta"},
    ]
)


def asked(*answers):
    return pd.DataFrame(answers, columns=["cluster", "wanted", "answer"])


def test_strict_lenient_and_language(known):
    table = asked(
        ("a", "x-es", "Manzanas."), ("a", "x-es", "apples"), ("a", "x-es", "naranjas"), ("a", "x-es", "pomas"),
        ("b", "x-es", "canta"), ("b", "x-es", ""),
    )  # fmt: skip
    found = judge_answers(table, RIGHT, ["x-en", "x-pt"], known=known)
    assert found["strict"].tolist() == [True, False, False, True, True, False]
    assert found["lenient"].tolist() == [True, True, False, True, True, False]
    assert found["produced"].tolist() == ["x-es", "x-en", "x-es", "x-es", "x-es", "empty"]
    assert found["in_wanted"].tolist() == [True, False, True, True, True, False]


def test_the_matrix_adds_up_and_finds_planted_shares(known):
    of = {"x-en": "apples", "x-es": "manzanas"}
    plan = [("x-es", "x-es")] * 30 + [("x-es", "x-en")] * 10 + [("x-en", "x-en")] * 40
    rows = [(str(n % 40), wanted, of[said]) for n, (wanted, said) in enumerate(plan)]
    right = {str(n): {code: [word] for code, word in of.items()} for n in range(40)}
    found = language_matrix(judge_answers(asked(*rows), right, [], known=known))
    cells = found.set_index(["wanted", "produced"])
    assert cells.loc[("x-es", "x-en"), "share"] == 0.25
    assert cells.loc[("x-es", "x-en"), "low"] < 0.25 < cells.loc[("x-es", "x-en"), "high"]
    assert cells.loc[("x-en", "x-es"), "high"] > 0.03  # none of 40 is not never
    assert found.groupby("wanted")["share"].sum().tolist() == [1, 1]
    assert (found["meanings"] == 40).all()


def test_intervals_are_over_meanings_so_a_repeated_answer_adds_nothing(known):
    rows = [(cluster, "x-es", word) for cluster, word in (("a", "manzanas"), ("b", "sings"))]
    once, often = (
        language_accuracy(judge_answers(asked(*rows * times), RIGHT, ["x-en"], known=known))
        for times in (1, 50)
    )
    assert often["meanings"].tolist() == once["meanings"].tolist() == [2, 2, 2]
    assert ((often["high"] - often["low"]) >= (once["high"] - once["low"]) - 1e-9).all()


def test_answers_that_cannot_be_judged_are_refused(known):
    with pytest.raises(BadInput, match="no right answer to 'c'"):
        judge_answers(asked(("c", "x-es", "x")), RIGHT, ["x-en"], known=known)
    with pytest.raises(BadInput, match="'wanted'"):
        judge_answers(asked(("a", "x-es", "x")).drop(columns="wanted"), RIGHT, ["x-en"])
