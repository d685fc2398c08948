"""Laws of the miniature world, its items, its files and its shipped members."""

import collections
import json
import random
import re
import shutil

import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, MT5Config, MT5ForConditionalGeneration

from workbench.errors import BadInput, UnknownName
from workbench.mini import clones, recipe
from workbench.mini.architectures import load_float32
from workbench.mini.corpus import Dials, scene_sentences
from workbench.mini.files import write_files
from workbench.mini.items import FINETUNED, RANKED, TASKS, Mixture, draw_pair, draw_story, draw_text
from workbench.mini.tokenizer import SENTINELS
from workbench.mini.world import KINDS, PIVOT, draw_scene, for_evaluation, read_world, sentence
from workbench.records import data_path
from workbench.tasks import make_items, read_rows, read_sentences, task_templates

WORLD = read_world()


# --- the world -------------------------------------------------------------------------------------------------------


def test_every_language_says_every_kind_of_sentence_and_ends_it_with_a_stop():
    scene = draw_scene(WORLD, random.Random(0), evaluation=False)
    fact = dict(scene.facts[0].slots)
    for language in WORLD.languages:
        for kind in KINDS:
            needed = re.findall(r"\{(\w+)\}", WORLD.constructions[PIVOT][kind])
            said = WORLD.say(sentence(kind, **{slot: fact.get(slot, "smiles") for slot in needed}), language)
            assert said.endswith(".")
            assert "{" not in said


def test_the_clones_in_the_files_are_what_the_english_column_gives():
    texts = [
        (data_path("mini") / name).read_text(encoding="utf-8")
        for name in ("lexicon.csv", "constructions.toml")
    ]
    assert list(clones.derive(*texts)) == texts


def test_a_clone_shares_the_words_it_says_it_shares():
    for clone in clones.CLONES:
        pairs = [
            (row[PIVOT], row[clone.code])
            for key, row in WORLD.words.items()
            if WORLD.category[key] not in clones.SHARED_CATEGORIES
        ]
        english = {word for phrase, _ in pairs for word in phrase.split()}
        theirs = {word for _, phrase in pairs for word in phrase.split()}
        assert len(english & theirs) / len(english) == pytest.approx(clone.shared, abs=0.06)


def test_the_inverted_clone_is_the_reversed_order():
    meaning = sentence("owns_at", person="Anna", verb="has", number="3", object="lamps", place="garden")
    words = WORLD.say(meaning, "x-en00r").removesuffix(".").split()
    back = dict(zip(WORLD.say(meaning, PIVOT).removesuffix(".").split()[::-1], words, strict=True))
    assert back["Anna"] == "Anna"
    assert back["3"] == "3"
    assert back["lamps"] == WORLD.word("lamps", "x-en00r")


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


def test_no_evaluation_meaning_is_in_any_training_text():
    rng = random.Random(1)
    for _ in range(300):
        told = [
            *scene_sentences(WORLD, rng),
            *draw_story(WORLD, rng, False).told,
            *draw_text(WORLD, rng, False),
        ]
        assert not any(for_evaluation(meaning) for meaning in told)


def test_every_evaluation_passage_is_of_evaluation_meanings_alone():
    rng = random.Random(2)
    for _ in range(100):
        assert all(for_evaluation(meaning) for meaning in draw_story(WORLD, rng, True).told)


def test_no_training_document_contains_an_evaluation_sentence_of_the_shipped_files():
    kept = {row["text"] for row in read_sentences()}
    rng = random.Random(3)
    told = {
        WORLD.say(one, language)
        for _ in range(500)
        for one in scene_sentences(WORLD, rng)
        for language in WORLD.languages
    }
    assert not kept & told
    assert len(told) > 5000


# --- the files -------------------------------------------------------------------------------------------------------


def test_the_shipped_files_are_what_the_command_writes(tmp_path):
    for path in write_files(tmp_path, meanings=8, sentences=12):  # the first of the same draws
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


@pytest.mark.parametrize("task", RANKED)
def test_choices_are_balanced(task):
    labels = collections.Counter(row["label"] for row in read_rows(task, languages=[PIVOT]))
    assert labels[0] == labels[1]


def copy_baseline(task: str, language: str, where: str) -> float:
    """The accuracy of choosing what stands first or last in the prompt, or nearest the thing asked for; blind to language."""
    wordings = [one for one in task_templates(task) if one.name == "ask"]
    hits = []
    for row, item in ((row, make_items([row], wordings)[0]) for row in read_rows(task, languages=[language])):
        places = [row["passage"].find(choice) for choice in item.choices]
        best = min(places) if where == "first" else max(places)
        hits.append(places.index(best) == item.gold)
    return sum(hits) / len(hits)


@pytest.mark.parametrize("task", ["who", "how_many", "what", "where"])
@pytest.mark.parametrize("where", ["first", "last"])
def test_a_baseline_that_copies_by_position_is_at_chance(task, where):
    for language in WORLD.languages:
        assert copy_baseline(task, language, where) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("task", ["sentiment", "yes_no"])
def test_the_answers_of_the_other_tasks_are_not_in_the_passage(task):
    for row in read_rows(task, languages=[PIVOT]):
        assert not {"positive", "negative", "good", "bad", "yes", "no"} & set(
            row["passage"].replace(".", "").split()
        )


def test_twin_the_position_does_tell_when_the_first_person_is_always_asked_for():
    rows = [row for row in read_rows("who", languages=[PIVOT]) if int(row["cluster"][-3:]) // 2 % 2 == 0]
    first = [
        row["passage"].find(row[f"choice_{row['label']}"])
        < row["passage"].find(row[f"choice_{1 - row['label']}"])
        for row in rows
    ]
    assert sum(first) == len(first)


def test_every_wording_fits_every_row_and_held_out_families_are_whole():
    for task in TASKS:
        wordings = task_templates(task)
        items = make_items(read_rows(task, limit=4), wordings)
        assert all(
            item.prompt[-1] in ".?:" or item.template == "cloze" or "mood" in item.template for item in items
        )
        held = {one.family for one in wordings if one.held_out}
        assert held
        assert all(one.held_out for one in wordings if one.family in held)
        assert len([one for one in wordings if one.language == PIVOT]) >= 8
        assert len({one.family for one in wordings if one.language == PIVOT}) >= 4


def test_the_finetuning_mixture_keeps_to_its_languages_and_wordings():
    kit = recipe.read_kit()
    assert all(one.language == PIVOT and not one.held_out for found in kit.wordings.values() for one in found)
    spanish = set(WORLD.words["garden"]["x-es"].split()) | {"tiene", "punya", "pife"}
    rng = random.Random(4)
    words = {
        word
        for _ in range(500)
        for text in draw_pair(WORLD, Mixture(), kit.wordings, rng)
        for word in text.split()
    }
    assert not words & (spanish - {"la", "en"})
    other = {
        word
        for _ in range(500)
        for text in draw_pair(WORLD, Mixture(languages=("x-en", "x-es")), kit.wordings, rng)
        for word in text.split()
    }
    assert other & spanish


def test_only_continuations_end_without_a_mark_or_a_cue():
    kit, rng = recipe.read_kit(), random.Random(5)
    plain = Mixture(continuation=0.0)
    cues = ("Answer:", "text:", "is", "are", ":", ".", "?")
    assert all(draw_pair(WORLD, plain, kit.wordings, rng)[0].endswith(cues) for _ in range(400))
    truncated = [draw_pair(WORLD, Mixture(continuation=1.0), kit.wordings, rng)[0] for _ in range(100)]
    assert not any(text.endswith((".", "?", ":")) for text in truncated)


# --- training --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    recipe.train(folder=folder, quick=True, show=False)
    return folder


def test_the_quick_recipe_trains_all_members_and_leaves_nothing_half_made(quick):
    assert sorted(path.name for path in quick.iterdir()) == sorted(
        one.name for one in recipe.MEMBERS if not one.stage
    )


def test_a_finished_member_is_not_trained_again(quick):
    before = {path: path.stat().st_mtime_ns for path in quick.rglob("*") if path.is_file()}
    recipe.train(folder=quick, quick=True, show=False)
    assert before == {path: path.stat().st_mtime_ns for path in quick.rglob("*") if path.is_file()}


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(quick, tmp_path):
    for seed in (0, 1):
        recipe.train(["mini-bloom"], tmp_path / str(seed), seed=seed, quick=True, show=False)
    weights = [
        folder / "mini-bloom" / "model.safetensors" for folder in (quick, tmp_path / "0", tmp_path / "1")
    ]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert weights[0].read_bytes() != weights[2].read_bytes()


def test_a_quick_training_does_not_touch_the_shipped_data():
    with pytest.raises(BadInput, match="another folder"):
        recipe.train(folder=data_path("mini/models"), quick=True)


def test_an_unknown_member_lists_those_there_are():
    with pytest.raises(UnknownName, match="mini-bloomz"):
        recipe.train(["mini-gpt"])


def test_the_head_of_mt5_stays_its_own_through_save_and_reload(quick):
    model = AutoModelForSeq2SeqLM.from_pretrained(quick / "mini-mt5", dtype=torch.float32)
    assert not torch.equal(model.lm_head.weight, model.shared.weight)
    assert torch.equal(model.shared.weight, model.encoder.embed_tokens.weight)
    assert model.lm_head.weight.std() < 0.05


def test_twin_a_tied_configuration_gives_one_tensor_for_both(quick, tmp_path):
    tied = tmp_path / "tied"
    shutil.copytree(quick / "mini-mt5", tied)
    config = json.loads((tied / "config.json").read_text())
    model = MT5ForConditionalGeneration(MT5Config(**{**config, "tie_word_embeddings": True}))
    assert torch.equal(model.lm_head.weight, model.shared.weight)


def test_a_reloaded_tokenizer_gives_the_same_ids(quick):
    kit = recipe.read_kit()
    texts = ["Anna a 3 œufs dans la forêt. Who has œufs?", " Ben", "Where?", "naïve ☃ 12"]
    for name, architecture in (("mini-bloom", "bloom"), ("mini-mt5", "mt5")):
        fresh, again = kit.tokenizer(architecture), AutoTokenizer.from_pretrained(quick / name)
        for text in texts:
            assert again(text).input_ids == fresh(text).input_ids
            assert again.decode(again(text).input_ids, skip_special_tokens=True).strip() == text.strip()
        assert again.model_max_length == 256


def test_special_tokens_have_the_ids_of_the_real_models(quick):
    bloom, mt5 = (AutoTokenizer.from_pretrained(quick / name) for name in ("mini-bloom", "mini-mt5"))
    assert bloom.convert_tokens_to_ids(["<unk>", "<s>", "</s>", "<pad>"]) == [0, 1, 2, 3]
    assert mt5.convert_tokens_to_ids(["<pad>", "</s>", "<unk>"]) == [0, 1, 2]
    assert bloom("Anna").input_ids[-1] != bloom.eos_token_id
    assert mt5("Anna").input_ids[-1] == mt5.eos_token_id
    assert len(mt5(SENTINELS[0]).input_ids) == 2


def test_every_word_of_the_world_is_one_token():
    tokenizer = recipe.read_kit().tokenizer("bloom")
    words = {word for row in WORLD.words.values() for phrase in row.values() for word in phrase.split()}
    assert [word for word in words if len(tokenizer(" " + word).input_ids) > 1] == []


# --- the shipped members ---------------------------------------------------------------------------------------------

SHIPPED = sorted(path.parent.name for path in data_path("mini/models").glob("*/model.safetensors"))


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_member_is_small_whole_and_says_what_it_is(name):
    folder = data_path("mini/models") / name
    assert (folder / "model.safetensors").stat().st_size <= 4_000_000
    assert "no\nevidence about BLOOMZ" in (folder / "README.md").read_text(encoding="utf-8")
    record = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    assert record["recipe"] == recipe.recipe_hash(recipe.member(name), record["seed"])
    assert load_float32(folder).config.vocab_size == len(AutoTokenizer.from_pretrained(folder))
    assert FINETUNED[0] == PIVOT


def test_dials_are_shares():
    assert all(
        0 <= share <= 1 for share in (Dials().parallel, Dials().pivot, Dials().through_pivot, Dials().tagged)
    )
