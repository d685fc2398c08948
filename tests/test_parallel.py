"""The structure of our parallel sentences: whole, in the right script, balanced, and with negatives that differ little."""

import itertools
import math
import re
import unicodedata
from collections import Counter
from difflib import SequenceMatcher

import pytest

from workbench.errors import BadInput, UnknownName
from workbench.paths import data_path
from workbench.tasks import exposure, make_items, parallel, read_data, read_texts, task_templates
from workbench.tasks.cldr import alphabets
from workbench.tasks.parallel import LABELS, RANKED
from workbench.tasks.tables import read_table

SENTENCES = [row.fields for row in read_table(data_path("parallel/sentences.csv"), ())]
MEANINGS = [row.fields for row in read_table(data_path("parallel/meanings.csv"), ())]
LANGUAGES = list(dict.fromkeys(row["language"] for row in SENTENCES))
FORMS = ("text", "negative_1", "negative_2")
# the scripts of ISO 15924 by the first words of Unicode names of letters; Japanese mixes three
LETTERS = {
    "Latn": {"LATIN"}, "Cyrl": {"CYRILLIC"}, "Grek": {"GREEK"}, "Arab": {"ARABIC"}, "Deva": {"DEVANAGARI"},
    "Beng": {"BENGALI"}, "Taml": {"TAMIL"}, "Telu": {"TELUGU"}, "Hans": {"CJK"}, "Thai": {"THAI"},
    "Jpan": {"CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "IDEOGRAPHIC"},
}  # fmt: skip
CHANGES = {"noun", "place", "quality", "who", "thing", "number", "time"}


def test_every_meaning_is_there_in_every_language_once():
    assert len(MEANINGS) == 60
    assert len(LANGUAGES) >= 20
    cells = Counter((row["meaning"], row["language"]) for row in SENTENCES)
    assert set(cells) == {(one["meaning"], code) for one in MEANINGS for code in LANGUAGES}
    assert set(cells.values()) == {1}


def test_all_cells_are_filled_and_nobody_has_checked_yet():
    for row in SENTENCES:
        assert all(row[form] == row[form].strip() != "" for form in FORMS)
        assert row["checked"] == ""
    for row in MEANINGS:
        assert {name for name, value in row.items() if not value} <= {"sentiment"}
        assert (row["sentiment"] == "") == (row["mood"] == "question")


def test_languages_are_of_the_family_seen_and_unseen_by_both_sides():
    found = [exposure(code) for code in LANGUAGES]
    assert all(one.is_known for one in found)
    for architecture in ("bloom", "mt5"):
        assert {one.is_seen(architecture)[0] for one in found} == {True, False}
    assert {one.is_seen("bloom") for one in found} == {(True, True), (False, False)}
    assert {one.is_seen("mt5") for one in found} == {(True, True), (True, False), (False, True)}
    assert len({one.script for one in found}) >= 6


@pytest.mark.parametrize("code", LANGUAGES)
def test_sentences_are_in_their_script(code):
    allowed = LETTERS[exposure(code).script]
    texts = [row[form] for row in SENTENCES if row["language"] == code for form in FORMS]
    assert {script for text in texts for script in alphabets(text)} <= allowed
    assert all(unicodedata.normalize("NFC", text) == text for text in texts)
    assert not any(re.search(r"[<>{}\[\]|]|\s{2}", text) for text in texts)


def test_letters_that_bengali_and_assamese_do_not_share_are_kept_apart():
    written = {
        code: "".join(row["text"] for row in SENTENCES if row["language"] == code) for code in ("bn", "as")
    }
    assert "র" in written["bn"]
    assert not {"ৰ", "ৱ"} & set(written["bn"])
    assert "ৰ" in written["as"]
    assert "র" not in written["as"]


@pytest.mark.parametrize("code", LANGUAGES)
def test_no_two_texts_of_a_language_are_equal(code):
    texts = [row[form] for row in SENTENCES if row["language"] == code for form in FORMS]
    assert len({text.casefold() for text in texts}) == 3 * 60


@pytest.mark.parametrize("code", LANGUAGES)
def test_a_negative_differs_little_from_its_sentence(code):
    """More than half of the letters stay, and a text is nearer to its negatives than to other sentences."""
    rows = [row for row in SENTENCES if row["language"] == code]
    likeness = [[_alike(row["text"], row[form]) for form in FORMS[1:]] for row in rows]
    assert min(map(min, likeness)) > 0.55
    assert sum(map(sum, likeness)) / 120 > 0.8
    others = [_alike(one["text"], other["text"]) for one, other in itertools.pairwise(rows)]
    assert sum(others) / len(others) < 0.5


def _alike(one, other):
    return SequenceMatcher(None, one, other, autojunk=False).ratio()


def test_sentences_end_as_statements_and_questions_do():
    """Where questions have a mark of their own."""
    mood = {row["meaning"]: row["mood"] for row in MEANINGS}
    for row in SENTENCES:
        if row["language"] in ("th", "ja"):  # without marks in Thai, か。 in Japanese
            assert row["language"] == "th" or (mood[row["meaning"]] == "question") == row["text"].endswith(
                "か。"
            )
            continue
        asks = all(row[form].endswith(("?", "？", "؟", ";")) for form in FORMS)
        assert asks == (mood[row["meaning"]] == "question"), row


def test_the_second_negative_of_every_meaning_is_named():
    assert {row["change_1"] for row in MEANINGS} == {"noun"}
    assert {row["change_2"] for row in MEANINGS} <= CHANGES - {"noun"}


@pytest.mark.parametrize("attribute", ["topic", "polarity", "tense", "number", "person", "mood", "noun"])
def test_attributes_are_balanced(attribute):
    counts = Counter(row[attribute] for row in MEANINGS)
    assert max(counts.values()) <= 2 * min(counts.values())


def test_the_sentiments_are_as_frequent_and_as_often_negated():
    pairs = Counter((row["sentiment"], row["polarity"]) for row in MEANINGS if row["sentiment"])
    assert pairs["good", "affirmed"] + pairs["good", "negated"] == 20
    assert min(pairs.values()) >= 9


def test_nouns_are_a_closed_list_each_in_several_topics():
    topics = {row["noun"]: {r["topic"] for r in MEANINGS if r["noun"] == row["noun"]} for row in MEANINGS}
    assert len(topics) == 12
    assert min(map(len, topics.values())) >= 2


def association(one, other, rows):
    """Cramér's V: 0 for independent attributes, 1 if one follows from the other."""
    count = Counter((row[one], row[other]) for row in rows)
    left, right = Counter(row[one] for row in rows), Counter(row[other] for row in rows)
    expected = {(a, b): left[a] * right[b] / len(rows) for a in left for b in right}
    chi = sum((count[pair] - value) ** 2 / value for pair, value in expected.items())
    return math.sqrt(chi / len(rows) / (min(len(left), len(right)) - 1))


def test_no_attribute_follows_from_another():
    """Only mood and person go together somewhat: the second person is asked more than told."""
    names = ["topic", "polarity", "tense", "number", "person", "mood"]
    found = {pair: association(*pair, MEANINGS) for pair in itertools.combinations(names, 2)}
    assert found.pop(("person", "mood")) < 0.45
    assert max(found.values()) < 0.3
    told = [row for row in MEANINGS if row["sentiment"]]
    assert max(association("sentiment", name, told) for name in names[:-1]) < 0.3
    assert association("topic", "topic", MEANINGS) == pytest.approx(1)  # the twin


@pytest.mark.parametrize("task", RANKED)
def test_a_task_asks_about_its_attribute_in_every_wording(task):
    attribute = task.removeprefix("parallel/")
    rows = parallel.rows(task, ["en", "th"])
    assert {row["label"] for row in rows} == set(range(len(LABELS[attribute])))
    items = make_items(rows, task_templates(task))
    assert len(items) == 5 * len(rows) == 5 * 2 * (40 if attribute == "sentiment" else 60)
    first = {item.cluster: item.target for item in items if item.template == task_templates(task)[0].name}
    words = {"negated": "yes", "affirmed": "no"}
    for row in rows:
        assert first[row["cluster"]] == words.get(row[attribute], row[attribute])


@pytest.mark.parametrize("task", RANKED)
@pytest.mark.parametrize("code", ["en", "zh", "ar", "ru"])
def test_length_tells_nothing_of_the_label(task, code):
    """The best cut of lengths, chosen afterwards, is right little more often than the best of as many random cuts."""
    rows = parallel.rows(task, [code])
    lengths = sorted({len(row["text"]) for row in rows})
    chance = max(Counter(row["label"] for row in rows).values()) / len(rows)
    best = max(
        sum(Counter(row["label"] for row in part).most_common(1)[0][1] for part in _cut(rows, length))
        / len(rows)
        for length in lengths[1:]
    )
    # sentences with a negation are longer by its word: of polarity, length may tell some
    assert best - chance < (0.35 if task == "parallel/polarity" else 0.2)


def _cut(rows, length):
    return [row for row in rows if len(row["text"]) < length], [
        row for row in rows if len(row["text"]) >= length
    ]


def test_every_sentence_is_translated_from_and_to_english():
    data = read_data("translation", "parallel", languages=["de"])
    items = {item.id: (item.prompt, item.target) for item in data.items() if item.cluster == "01"}
    here, there = "Ich mag das Brot in diesem Dorf.", "I like the bread in this village."
    assert items["01-to|de|to"] == (f"Translate to English: {here}", there)
    assert items["01-from|de|from_to"] == (f"Translate from English to German: {there}", here)
    assert len(data.items()) == 2 * 2 * 60
    with pytest.raises(UnknownName, match="no language 'en'"):
        read_data("translation", "parallel", languages=["en"])


def test_the_first_six_meanings_have_the_six_topics():
    assert {row["topic"] for row in MEANINGS[:6]} == set(LABELS["topic"])
    assert {row["label"] for row in read_data("topic", "parallel", limit=6).rows} == set(range(6))


def test_texts_have_attributes_and_negatives():
    data = read_texts("parallel", languages=["de", "ja"])
    assert len(data.rows) == 2 * 60
    row = next(row for row in data.rows if (row["language"], row["id"]) == ("de", "01"))
    assert (row["text"], row["noun"]) == ("Ich mag das Brot in diesem Dorf.", "bread")
    assert row["negatives"] == ["Ich mag das Wasser in diesem Dorf.", "Ich mag das Brot in dieser Stadt."]
    assert {row["sentiment"] for row in data.rows} == {"good", "bad", None}


def test_a_language_or_limit_that_is_not_there_is_refused():
    with pytest.raises(UnknownName, match=r"'parallel/topic' has no language 'yo'; it has: en, "):
        read_data("topic", "parallel", languages=["yo"])
    with pytest.raises(BadInput, match="limit=0"):
        read_texts("parallel", limit=0)
