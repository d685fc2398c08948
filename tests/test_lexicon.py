"""Words of CLDR: only a language's own names count, and nothing in a set of choices says which is right."""

from collections import Counter

import pytest
from babel import Locale
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import BadInput, UnknownName
from workbench.family import languages
from workbench.tasks import lexicon, make_items, match_answer, read_data, read_texts, task_templates
from workbench.tasks.cldr import KINDS, alphabets, names
from workbench.tasks.lexicon import TASKS
from workbench.tasks.spelling import normal, similarity

SPELLINGS = st.text("abcdé", max_size=80).map(normal)

# language: countries and languages in its own file, those that are called as in English, and those that are asked about
COUNTS = {
    "en": (249, 155, 404, 0, 0),
    "es": (249, 155, 148, 144, 112),
    "pt": (249, 155, 124, 156, 120),
    "fr": (249, 155, 136, 156, 108),
    "ar": (249, 155, 0, 248, 152),
    "id": (249, 155, 200, 116, 84),
    "zh": (249, 155, 0, 248, 152),
    "hi": (249, 155, 0, 248, 152),
    "vi": (249, 155, 165, 84, 152),
    "ur": (249, 155, 0, 248, 152),
    "te": (249, 155, 0, 248, 152),
    "ta": (249, 155, 0, 248, 152),
    "bn": (249, 155, 0, 248, 152),
    "mr": (249, 155, 0, 248, 152),
    "sw": (249, 155, 132, 120, 152),
    "gu": (249, 155, 0, 248, 152),
    "pa": (249, 155, 0, 248, 152),
    "ne": (249, 155, 0, 248, 152),
    "yo": (249, 154, 37, 220, 140),
    "ig": (249, 155, 343, 20, 36),
    "ny": (0, 1, 1, 0, 0),
    "zu": (249, 155, 0, 248, 152),
    "xh": (249, 91, 6, 248, 84),
    "sn": (222, 42, 169, 52, 40),
    "ts": (0, 25, 0, 0, 24),
    "rw": (3, 91, 1, 0, 88),
    "lg": (223, 41, 19, 204, 40),
    "tn": (2, 73, 49, 0, 24),
    "nso": (1, 2, 0, 0, 0),
    "rn": (223, 42, 16, 204, 40),
    "ml": (249, 155, 0, 248, 152),
    "kn": (249, 155, 0, 248, 152),
    "or": (249, 155, 0, 248, 152),
    "as": (249, 155, 0, 248, 152),
    "ln": (243, 47, 29, 216, 40),
    "wo": (249, 118, 35, 232, 96),
    "ki": (223, 41, 55, 168, 40),
    "st": (2, 79, 6, 0, 72),
    "ca": (249, 155, 161, 124, 116),
    "eu": (249, 155, 112, 140, 148),
    "ak": (249, 112, 60, 196, 100),
    "bm": (223, 41, 13, 208, 40),
    "bg": (249, 155, 0, 248, 152),
    "de": (249, 155, 150, 144, 108),
    "el": (249, 155, 0, 248, 152),
    "ru": (249, 155, 0, 248, 152),
    "th": (249, 155, 0, 248, 152),
    "tr": (249, 155, 89, 172, 140),
    "et": (249, 154, 113, 156, 132),
    "ht": (0, 1, 0, 0, 0),
    "it": (249, 155, 181, 120, 100),
    "qu": (249, 153, 111, 136, 152),
    "my": (249, 155, 0, 248, 152),
    "ja": (249, 155, 0, 248, 152),
}
NO_FILE = {"fon", "tum", "tw"}
NAMES = ("country", "language")


@pytest.fixture(scope="module")
def asked():
    return {task: lexicon.rows(task) for task in TASKS}


def test_the_names_of_each_language_are_counted(asked):
    """With the pinned Babel; another version may know more."""
    equal = Counter(row["language"] for row in lexicon.texts() if row["equal"] and row["kind"] in NAMES)
    rows = Counter((row["language"], row["kind"]) for row in asked["lexicon/words"])
    found = {
        code: (
            *(len(names(code, kind)) for kind in NAMES),
            equal[code],
            *(rows[code, kind] for kind in NAMES),
        )
        for code in (one.code for one in languages())
    }
    assert {code: counts for code, counts in found.items() if any(counts)} == COUNTS


def test_months_and_weekdays_are_asked_where_names_are_no_numbers(asked):
    everywhere = {code for code in COUNTS if names(code, "month")}
    assert everywhere == set(COUNTS) - {"ht"}
    assert {row["language"] for row in asked["lexicon/months"]} == everywhere - {"zh", "ja", "vi"}
    assert {row["language"] for row in asked["lexicon/weekdays"]} == everywhere - {"zh"}


def test_nothing_is_inherited():
    """Babel gives Haitian Creole French names, Twi Akan ones, and languages without a table those of the root."""
    assert Locale("ht").territories["DE"] == Locale("fr").territories["DE"] == "Allemagne"
    assert not names("ht", "country")
    assert not names("ht", "month")
    assert Locale.parse("tw").territories["DE"] == names("ak", "country")["DE"].text
    assert not any(names(code, kind) for code in NO_FILE for kind in KINDS)


def test_reading_leaves_babel_as_it_was():
    names("ht", "country")
    assert Locale("ht").territories["IT"] == "Italie"


def test_all_forms_of_the_language_are_right():
    assert names("ru", "month")["1"].forms == ("январь", "января")  # alone, and in a date
    assert names("sw", "country")["AF"].forms == (
        "Afghanistan",
        "Afuganistani",
        "Afghanistani",
    )  # of Kenya, of Congo
    assert names("zh", "country")["DE"].forms == ("德国", "德國")
    assert names("en", "country")["MM"].forms == ("Myanmar (Burma)", "Myanmar", "Burma")


def test_forms_in_another_script_do_not_count():
    """Hindi also has a file in Latin script."""
    hindi = [names("hi", kind)[key] for kind in NAMES for key in names("hi", kind)]
    assert {script for one in hindi for form in one.forms for script in alphabets(form)} == {"DEVANAGARI"}


@pytest.mark.parametrize("task", TASKS)
def test_choices_alone_are_right_as_often_as_chance(asked, task):
    """Exactly so, by language and kind: the longest, the shortest, the first and last in the alphabet, each place."""
    rules = {
        "longest": lambda choices: choices.index(max(choices, key=lambda text: (len(text), text))),
        "shortest": lambda choices: choices.index(min(choices, key=lambda text: (len(text), text))),
        "first": lambda choices: choices.index(min(choices)),
        "last": lambda choices: choices.index(max(choices)),
        "in the middle": lambda choices: choices.index(sorted(choices, key=len)[1]),
        **{f"place {n}": lambda choices, n=n: n for n in range(3)},
    }
    rows = asked[task]
    assert rows
    for rule in rules.values():
        for code in {row["language"] for row in rows}:
            mine = [row for row in rows if row["language"] == code]
            right = [rule(row["choices"]) == row["label"] for row in mine]
            assert sum(right) * len(mine[0]["choices"]) == len(mine)


def test_twin_spelling_like_the_question_does_help(asked):
    """What the column `similarity` is for: in Spanish the choice most like the English name is mostly right."""
    rows = [row for row in asked["lexicon/words"] if row["language"] == "es"]
    right = [
        max(row["choices"], key=lambda choice: similarity(choice, row["english"])) == row["text"]
        for row in rows
    ]
    assert sum(right) / len(rows) > 0.8


@pytest.mark.parametrize("task", TASKS)
def test_questions_are_well_formed(asked, task):
    for row in asked[task]:
        forms = [normal(choice) for choice in row["choices"]]
        assert len(set(forms)) == len(forms)
        assert row["choices"][row["label"]] == row["accepted"][0]
        assert not {normal(form) for form in row["accepted"]} & (set(forms) - {forms[row["label"]]})
        if "before" in row:
            assert not {row["before"], row["after"]} & set(row["choices"])
        else:
            assert not row["equal"]
    assert max(Counter((row["language"], row["id"]) for row in asked[task]).values()) == 1


def test_the_choices_are_alike(asked):
    """In prominence and length: less apart than those of another question in the same language."""
    rows = [row for row in asked["lexicon/words"] if row["language"] == "te" and row["kind"] == "country"]
    inside = [max(map(len, row["choices"])) - min(map(len, row["choices"])) for row in rows]
    across = [abs(len(one["text"]) - len(other["text"])) for one in rows for other in rows]
    assert sum(inside) / len(inside) < sum(across) / len(across)


@pytest.mark.parametrize("task", TASKS)
def test_a_seed_fixes_everything_and_another_changes_it(task):
    first = lexicon.rows(task, ["sw"], 8, 0)
    assert lexicon.rows(task, ["sw"], 8, 0) == first
    assert lexicon.rows(task, ["sw"], 8, 1) != first


@pytest.mark.parametrize("task", TASKS)
def test_a_limit_takes_whole_sets_and_a_larger_one_contains_them(task):
    some, more = ({(row["set"], row["id"]) for row in lexicon.rows(task, ["th"], n)} for n in (20, 40))
    assert some < more or some == more == {(r["set"], r["id"]) for r in lexicon.rows(task, ["th"])}


@pytest.mark.parametrize("task", TASKS)
def test_every_wording_asks_every_row(task):
    rows = lexicon.rows(task, limit=2)
    items = make_items(rows, task_templates(task))
    assert len(items) == len(rows) * 5
    assert all(item.choices[item.gold] == item.target for item in items)
    listed = [item for item in items if all(choice in item.prompt for choice in item.choices)]
    assert len(listed) >= len(rows) * 2
    openly = [item for item in items if item.template not in {one.template for one in listed}]
    assert len(openly) == len(rows) * 3


def test_an_answer_is_matched_to_the_letter_or_normalised():
    data = read_data("lexicon/words", languages=["zh", "yo"], limit=100)
    items = {(item.cluster, item.language): item for item in data.items()}
    item = next(item for key, item in items.items() if len(data.accepted(item)) > 1 and key[1] == "zh")
    assert [match_answer(text, data.accepted(item)) for text in data.accepted(item)][:2] == ["exact"] * 2
    assert match_answer(" jamani.", ["Jámánì"]) == "normalised"
    assert match_answer("Jámánì\n", ["Jámánì"]) == "exact"
    assert match_answer("Jámánì ni", ["Jámánì"]) == match_answer("", ["Jámánì"]) == "no"
    assert match_answer("हिंदी", ["हिदी"]) == "no"  # a vowel sign is no accent


def test_similarity_is_that_of_the_edit_distance():
    assert similarity("Germany", "germany!") == 1
    assert similarity("kitten", "sitting") == pytest.approx(1 - 3 / 7)
    assert similarity("abc", "def") == similarity("", "x") == 0
    assert similarity("", "") == 1


@given(SPELLINGS, SPELLINGS)
def test_the_number_of_edits_is_that_of_the_usual_table(first, second):
    row = list(range(len(second) + 1))
    for number, sign in enumerate(first, 1):
        above, row[0] = row[0], number
        for place, letter in enumerate(second, 1):
            least = min(row[place] + 1, row[place - 1] + 1, above + (sign != letter))
            above, row[place] = row[place], least
    assert similarity(first, second) == pytest.approx(1 - row[-1] / max(len(first), len(second), 1))


def test_words_are_parallel_texts_with_what_a_probe_asks():
    data = read_texts("lexicon", languages=["en", "ln", "ru"])
    keys = Counter((row["language"], row["id"]) for row in data.rows)
    assert max(keys.values()) == 1
    assert {row["kind"] for row in data.rows} == set(KINDS)
    shared = {key for code, key in keys if code == "ru"} & {key for code, key in keys if code == "ln"}
    assert len(shared) > 250
    row = next(row for row in data.rows if (row["language"], row["id"]) == ("ln", "country-DE"))
    assert (row["text"], row["english"], row["equal"], row["similarity"]) == (
        "Alemani",
        "Germany",
        False,
        0.429,
    )


def test_a_language_without_names_is_refused_and_others_are_listed():
    with pytest.raises(UnknownName, match=r"'lexicon/words' has no language 'fon'; it has: es, .*yo"):
        read_data("words", "lexicon", languages=["yo", "fon"])
    with pytest.raises(UnknownName, match="the lexicon has no language 'tw'"):
        read_texts("lexicon", languages=["tw"])
    with pytest.raises(BadInput, match="limit=0"):
        lexicon.rows("lexicon/words", ["yo"], 0)
