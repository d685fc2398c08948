"""Laws of the miniature world: its languages, its split, its files, its tasks and its mixtures."""

import collections
import random
import re
import shutil
from dataclasses import replace

import pytest

from miniatures import clones
from miniatures.corpus import Dials, document, roll_document
from miniatures.examples import FINETUNED, MIXTURES, Mixture, draw_example, read_wordings
from miniatures.files import write_files
from miniatures.items import draw_text
from miniatures.questions import HELD_OUT, QUESTIONS, RANKED, TASKS, draw_case, ranked_row
from miniatures.world import (
    KINDS,
    NUMBERS,
    PHRASES,
    PIVOT,
    draw_scene,
    for_evaluation,
    read_world,
    sentence,
)
from workbench.errors import BadInput, UnknownName
from workbench.paths import data_path
from workbench.tasks import make_items, read_rows, read_sentences, task_templates

WORLD = read_world()


# --- the world -------------------------------------------------------------------------------------------------------


def test_every_language_says_every_kind_of_sentence_and_ends_it_with_a_stop():
    scene = draw_scene(WORLD, random.Random(0), evaluation=False)
    fact, words = dict(scene.facts[0].slots), {"class": "food", "other": "eggs"}
    for language in WORLD.languages:
        for kind in KINDS:
            needed = re.findall(r"\{(\w+)\}", WORLD.constructions[PIVOT][kind])
            said = WORLD.say(
                sentence(kind, **{slot: fact.get(slot, words.get(slot, "smiles")) for slot in needed}),
                language,
            )
            assert said.endswith((".", "。"))
            assert "{" not in said


def test_the_clones_in_the_files_are_what_the_english_column_gives():
    texts = [
        (data_path("mini") / name).read_text(encoding="utf-8")
        for name in ("lexicon.csv", "constructions.toml")
    ]
    assert list(clones.derive(*texts)) == texts


def vocabulary(language: str) -> set[str]:
    """The words of a language that the maker of clones decides about: of the lexicon but names, and of constructions."""
    texts = [
        row[language]
        for key, row in WORLD.words.items()
        if WORLD.category[key] not in clones.SHARED_CATEGORIES
    ]
    texts += [WORLD.constructions[language][kind] for kind in (*KINDS, *PHRASES)]
    return set(re.sub(r"\{\w+\}|[.,:]", " ", " ".join(texts)).split())


def test_a_clone_shares_the_words_it_says_it_shares():
    """To the nearest word: that many are drawn, and no new word is one of English."""
    english = vocabulary(PIVOT)
    for clone in clones.CLONES:
        shared = len(english & vocabulary(clone.code))
        assert abs(shared - clone.shared * len(english)) <= 0.5
    assert abs(len(english & vocabulary("x-fr")) - 0.3 * len(english)) > 0.5  # the twin: another language


def test_the_inverted_clone_is_the_reversed_order():
    meaning = sentence("owns_at", person="Anna", verb="has", number="3", object="dolls", place="garden")
    words = WORLD.say(meaning, "x-en00r").removesuffix(".").split()
    back = dict(zip(WORLD.say(meaning, PIVOT).removesuffix(".").split()[::-1], words, strict=True))
    assert back["Anna"] == "Anna"
    assert back["3"] == "3"
    assert back["dolls"] == WORLD.word("dolls", "x-en00r")


def test_a_missing_word_is_named_with_file_and_row(tmp_path):
    for name in ("lexicon.csv", "constructions.toml"):
        shutil.copy(data_path("mini") / name, tmp_path)
    lines = (tmp_path / "lexicon.csv").read_text(encoding="utf-8").split("\n")
    cells = lines[30].split(",")
    lines[30] = ",".join([*cells[:3], "", *cells[4:]])
    (tmp_path / "lexicon.csv").write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(BadInput, match=rf"lexicon.csv, row 31 \({cells[0]}\): no word for x-fr"):
        read_world(tmp_path)


def test_twin_the_whole_files_are_read(tmp_path):
    for name in ("lexicon.csv", "constructions.toml"):
        shutil.copy(data_path("mini") / name, tmp_path)
    assert read_world(tmp_path).languages == WORLD.languages


def test_a_construction_with_an_unknown_slot_is_named(tmp_path):
    for name in ("lexicon.csv", "constructions.toml"):
        shutil.copy(data_path("mini") / name, tmp_path)
    path = tmp_path / "constructions.toml"
    path.write_text(
        path.read_text(encoding="utf-8").replace("{person} est {place}", "{persona} est {place}"),
        encoding="utf-8",
    )
    with pytest.raises(BadInput, match=r"x-fr.*person_at"):
        read_world(tmp_path)


def test_an_unknown_language_lists_those_there_are():
    with pytest.raises(UnknownName, match="x-en00r"):
        WORLD.say(sentence("mood", person="Anna", mood="smiles"), "x-xx")


# --- the split -------------------------------------------------------------------------------------------------------


def meanings_said(texts: list[str], language: str) -> set:
    """The facts of the evaluation side that some texts say."""
    facts, said = [row for row in read_sentences() if row["language"] == language], "\n".join(texts)
    return {row["id"] for row in facts if row["text"] in said}


def test_no_evaluation_meaning_is_in_any_training_text():
    rng, wordings = random.Random(1), read_wordings()
    dials = [Dials(), Dials(meanings=1, again=2, switched=0.3), Dials(parallel=0.0, rolls=0.9, pairs=0.3)]
    texts = [document(WORLD, one, rng).text for one in dials for _ in range(1500)]
    texts += [draw_example(WORLD, MIXTURES["xp3mt"], wordings, rng).inputs for _ in range(1500)]
    assert not any(meanings_said(texts, language) for language in WORLD.languages)


def test_twin_evaluation_meanings_are_found_where_they_are():
    for language in WORLD.languages:
        texts = [row["passage"] for row in read_rows("where", languages=[language])]
        assert meanings_said(texts, language)


def test_every_evaluation_passage_is_of_evaluation_meanings_alone():
    rng = random.Random(2)
    for _ in range(50):
        case = draw_case(WORLD, "sentiment", rng, evaluation=True)
        assert all(for_evaluation(fact) for fact in case.scene.facts)
        assert all(for_evaluation(meaning) for meaning in draw_text(WORLD, rng, evaluation=True))


# --- the files -------------------------------------------------------------------------------------------------------


def test_the_shipped_files_are_what_the_command_writes(tmp_path):
    for path in write_files(tmp_path, meanings=12, sentences=12):  # the first of the same draws
        assert (data_path("mini") / path.relative_to(tmp_path)).read_bytes().startswith(path.read_bytes()), (
            path.name
        )


@pytest.mark.parametrize("task", TASKS)
def test_rows_are_parallel_in_all_languages(task):
    per_cluster = collections.defaultdict(set)
    for row in read_rows(task):
        per_cluster[row["cluster"]].add((row["language"], row.get("label")))
    languages = {language for language in WORLD.languages if task != "translation" or language != PIVOT}
    for found in per_cluster.values():
        assert {language for language, _ in found} == languages
        assert len({label for _, label in found}) == 1


@pytest.mark.parametrize("task", [*RANKED, *HELD_OUT])
def test_choices_are_balanced(task):
    labels = collections.Counter(row["label"] for row in read_rows(task, languages=[PIVOT]))
    assert len(set(labels.values())) == 1


def copy_baseline(task: str, language: str, where: str) -> float:
    """The accuracy of choosing what stands first or last in the prompt, or nearest the thing asked for; blind to language."""
    wordings = [one for one in task_templates(task) if one.name == "ask"]
    hits = []
    for row, item in ((row, make_items([row], wordings)[0]) for row in read_rows(task, languages=[language])):
        places = [row["passage"].find(choice) for choice in item.choices]
        best = min(places) if where == "first" else max(places)
        hits.append(places.index(best) == item.gold)
    return sum(hits) / len(hits)


@pytest.mark.parametrize("task", QUESTIONS)
@pytest.mark.parametrize("where", ["first", "last"])
def test_a_baseline_that_copies_by_position_is_at_chance(task, where):
    for language in WORLD.languages:
        assert (
            copy_baseline(task, language, where) == 0.5
        )  # the asked place is balanced, and both values stand there


@pytest.mark.parametrize("task", ["sentiment", "yes_no", "topic"])
def test_the_answers_of_the_other_tasks_are_not_in_the_passage(task):
    for row in read_rows(task, languages=[PIVOT]):
        assert not {"happy", "sad", "good", "bad", "positive", "negative", "yes", "no", "food", "toys"} & set(
            row["passage"].replace(".", "").split()
        )


def test_twin_the_position_does_tell_when_the_first_person_is_always_asked_for():
    rng = random.Random(6)
    for _ in range(40):
        row = ranked_row(WORLD, "who", replace(draw_case(WORLD, "who", rng, True), asked=0), PIVOT)
        right, wrong = row[f"choice_{row['label']}"], row[f"choice_{1 - row['label']}"]
        assert row["passage"].find(right) < row["passage"].find(wrong)


# --- wordings and mixtures -------------------------------------------------------------------------------------------


def test_there_are_three_hundred_wordings_and_a_fifth_of_the_english_families_is_held_out():
    wordings = read_wordings()
    assert sum(map(len, wordings.values())) >= 300
    for task in TASKS:
        english = [one for one in wordings[task] if one.language == PIVOT]
        held = {one.family for one in english if one.held_out}
        assert len(held) / len({one.family for one in english}) == pytest.approx(0.2, abs=0.05)
        assert all(one.held_out for one in english if one.family in held)


@pytest.mark.parametrize("task", TASKS)
def test_every_wording_fits_every_row_and_ends_with_a_mark_or_a_cue(task):
    items = make_items(read_rows(task, limit=4), task_templates(task))
    assert {item.prompt[-1] for item in items} <= set(".?:。？：")


def test_a_mixture_keeps_to_its_languages_its_wordings_and_its_tasks():
    wordings = read_wordings()
    held = {(task, one.name) for task, found in wordings.items() for one in found if one.held_out}
    drawn = {
        name: [draw_example(WORLD, mixture, wordings, random.Random(step)) for step in range(800)]
        for name, mixture in MIXTURES.items()
    }
    for name, examples in drawn.items():
        assert {one.language for one in examples} == ({PIVOT} if name == "p3" else set(FINETUNED))
        assert not {(one.task, one.template) for one in examples} & held
        assert not {one.task for one in examples} & set(HELD_OUT)
    native = {"_fr", "_id", "_zh"}
    share = {name: sum(one.template[-3:] in native for one in found) / 800 for name, found in drawn.items()}
    assert share["p3"] == share["xp3"] == 0
    assert share["xp3mt"] == pytest.approx(0.3, abs=0.06)  # half of the wordings outside of English


def test_the_mixtures_tell_the_same_items():
    wordings = read_wordings()
    for seed in range(200):
        p3, xp3, native = (
            draw_example(WORLD, one, wordings, random.Random(seed)) for one in MIXTURES.values()
        )
        assert (xp3.task, xp3.language) == (native.task, native.language)
        assert xp3.task in (p3.task, "translation")
        if xp3.language == PIVOT and xp3.task != "translation":
            assert p3 == xp3 == native


def test_only_continuations_end_without_a_mark_or_a_cue():
    wordings, rng = read_wordings(), random.Random(5)
    marks = tuple(".?:。？：")
    plain, cut = Mixture(continuation=0.0), Mixture(continuation=1.0)
    assert all(draw_example(WORLD, plain, wordings, rng).inputs.endswith(marks) for _ in range(400))
    assert not any(draw_example(WORLD, cut, wordings, rng).inputs.endswith(marks) for _ in range(100))


def test_names_of_their_own_and_switched_languages_are_dials():
    rng = random.Random(7)
    own = [document(WORLD, Dials(shared_names=0.0), rng).text for _ in range(100)]
    assert not any(name in text.split() for text in own for name in WORLD.ids("person"))
    foreign = {"tiene", "compra", "punya", "membeli", "achète", "ana", "ananunua"}
    for switched in (1.0, 0.0):
        dials = Dials(parallel=0.0, lists=0.0, retold=0.0, notes=0.0, switched=switched, pivot=1.0)
        pieces = [document(WORLD, dials, rng).pieces for _ in range(200)]
        assert not any(foreign & set(first.split()) for first, *_ in pieces)
        assert any(foreign & set(second.split()) for _, second, *_ in pieces) == (switched > 0)


def said_again(dials, seed, count=200):
    """The names, things, numbers and places of what rolls tell, and of what they say again, by document."""
    rng, key = random.Random(seed), {}
    for one in (*WORLD.ids("person", "place"), *WORLD.objects, *NUMBERS):
        key |= {WORLD.word(one, language): one for language in WORLD.languages}
    for _ in range(count):
        drawn = roll_document(WORLD, dials, rng)
        parts = "".join(drawn.pieces[: drawn.told]), "".join(drawn.pieces[drawn.told :])
        yield tuple({one for word, one in key.items() if word in part} for part in parts)


def test_a_roll_says_again_what_it_told_and_nothing_else():
    dials = Dials(notes=0.3, place=0.7, pairs=0.5, retold=0.0, pivot=1.0)
    assert all(again and again <= told for told, again in said_again(dials, seed=8))


def asks_one_thing_of_everybody(drawn):
    """Whether what is said again are pairs with as many keys, all people or all things, as there were facts."""
    pairs = [piece.strip().rstrip(".").split(": ") for piece in drawn.pieces[drawn.told :]]
    if any(len(pair) != 2 for pair in pairs):
        return False
    people = {WORLD.word(one, PIVOT) for one in WORLD.ids("person")}
    keys = {key for key, _ in pairs}
    return len(keys) == len(pairs) == drawn.told and (keys <= people or not keys & people)


def test_a_register_asks_one_thing_of_everybody_and_another_roll_seldom():
    found = []
    for share in (1.0, 0.0):
        dials, rng = Dials(registers=share, pairs=0.5, retold=0.0, pivot=1.0), random.Random(4)
        found.append([asks_one_thing_of_everybody(roll_document(WORLD, dials, rng)) for _ in range(200)])
    assert all(found[0])
    assert sum(found[1]) < 20


def test_twin_what_another_roll_says_again_is_not_what_this_one_told():
    found = list(said_again(Dials(retold=0.0, pivot=1.0), seed=8))
    moved = zip([told for told, _ in found], [again for _, again in found[1:]], strict=False)
    assert not all(again <= told for told, again in moved)
