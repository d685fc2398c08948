"""Laws of the miniature family's training, and of its shipped members."""

import json
import random
import shutil

import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, MT5Config, MT5ForConditionalGeneration

from miniatures import card, recipe, rows
from miniatures.architectures import load_float32
from miniatures.corpus import Dials, roll_document
from miniatures.tokenizer import SENTINELS
from miniatures.world import read_world
from workbench.errors import BadInput, UnknownName
from workbench.paths import data_path
from workbench.training import draw_spans

WORLD = read_world()


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    recipe.train(folder=folder, quick=True, show=False)
    return folder


def test_the_quick_recipe_trains_all_members_and_leaves_nothing_half_made(quick):
    made = sorted(path.name for path in quick.iterdir())
    assert made == sorted(one.name for one in recipe.MEMBERS if not one.stage)


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


def test_nothing_starts_from_a_base_of_another_seed_or_recipe(quick, tmp_path):
    """A base that lay in the folder was taken for the recipe's own, and its finetuned member got the recipe's hash."""
    shutil.copytree(quick / "mini-mt5", tmp_path / "mini-mt5")
    with pytest.raises(BadInput, match="another recipe or seed"):
        recipe.train(["mini-mt0"], tmp_path, seed=1, quick=True, show=False)
    with pytest.raises(BadInput, match="another recipe or seed"):
        recipe.train(["mini-mt0"], tmp_path, show=False)
    assert [path.name for path in tmp_path.iterdir()] == ["mini-mt5"]
    recipe.train(["mini-mt0"], tmp_path, quick=True, show=False)  # the twin: its own base


def test_nothing_goes_on_from_the_half_made_checkpoint_of_another_seed(tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(recipe, "_save", stop)
    with pytest.raises(KeyboardInterrupt):
        recipe.train(["mini-mt5"], tmp_path, quick=True, show=False)
    monkeypatch.undo()
    (half,) = tmp_path.glob(".training-*")
    assert half.name == ".training-mini-mt5-first"
    with pytest.raises(BadInput, match="another training"):
        recipe.train(["mini-mt5"], tmp_path, seed=1, quick=True, show=False)


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
    assert "no\nevidence about BLOOMZ" in (folder / "README.md").read_text(encoding="utf-8")
    record = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    assert record["recipe"] == recipe.recipe_hash(recipe.member(name), record["seed"])
    assert load_float32(folder).config.vocab_size == len(AutoTokenizer.from_pretrained(folder))


def test_an_interrupted_training_goes_on_to_the_same_weights(quick, tmp_path, monkeypatch):
    done = []

    def stop(self, step, loss):
        done.append(step)
        if len(done) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(recipe.Progress, "step", stop)
    with pytest.raises(KeyboardInterrupt):
        recipe.train(["mini-bloom"], tmp_path, quick=True, show=False)
    assert not (tmp_path / "mini-bloom-first").exists()
    recipe.train(["mini-bloom"], tmp_path, quick=True, show=False)
    assert done[:3] == [0, 1, 2]
    assert done[-4:] == [0, 1, 2, 3]  # the last of four stages
    weights = [folder / "mini-bloom" / "model.safetensors" for folder in (quick, tmp_path)]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_losses_are_compared_with_those_of_the_member_that_ships(tmp_path):
    shipped = data_path("mini/models/mini-bloomz")
    again = tmp_path / "mini-bloomz"
    shutil.copytree(shipped, again)
    assert recipe.compare_losses(again) == 0
    record = json.loads((again / "training.json").read_text(encoding="utf-8"))
    record["losses"]["50"] += 0.25
    (again / "training.json").write_text(json.dumps(record), encoding="utf-8")
    assert recipe.compare_losses(again) == pytest.approx(0.25)
    (again / "training.json").write_text(json.dumps({**record, "recipe": "another"}), encoding="utf-8")
    assert recipe.compare_losses(again) is None
    assert recipe.compare_losses(shipped) is None


def test_a_shipped_base_is_taken_for_its_own_seed_only(tmp_path):
    base = recipe.member("mini-bloom")
    recipe.take_shipped(base, tmp_path / "other", seed=99)
    assert not (tmp_path / "other").exists()
    recipe.take_shipped(base, tmp_path / "same", seed=0)
    assert (tmp_path / "same" / "mini-bloom" / "model.safetensors").exists()


def found_in_one(spans_of):
    """Of the hidden tokens of rolls, the share that stand in exactly one of the sentences told."""
    world, rng = rows.read_kit().world, random.Random(3)
    tokenizer = rows.read_kit().tokenizer("mt5")
    hidden = found = 0
    for _ in range(100):
        drawn = roll_document(world, Dials(place=0.7, pairs=0.5, retold=0.0, pivot=1.0), rng)
        ids = tokenizer.backend_tokenizer.encode(drawn.text, add_special_tokens=False)
        told = [tokenizer.encode(piece, add_special_tokens=False) for piece in drawn.pieces[: drawn.told]]
        for start, end in spans_of(drawn, ids, rng):
            hidden += end - start
            found += sum(sum(token in sentence for sentence in told) == 1 for token in ids.ids[start:end])
    return found / hidden


def test_hidden_values_can_be_found_in_one_of_the_sentences_told():
    assert found_in_one(rows._values) == 1


def test_twin_short_spans_hide_other_tokens_too():
    assert found_in_one(lambda drawn, ids, rng: draw_spans(len(ids.ids), 0.3, 3, rng)) < 0.8


def test_the_minutes_on_a_card_are_those_of_all_stages():
    record = {"minutes": 1.5, "stage_before": {"minutes": 2.0, "stage_before": {"minutes": 4.0}}}
    assert card._minutes(record) == 7.5
    assert card._minutes(record["stage_before"]) == 6.0
