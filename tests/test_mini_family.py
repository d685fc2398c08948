"""How the miniatures plug in: described from their folders, with their tasks, languages and badge."""

import json

import pytest

from miniatures.examples import FINETUNED
from miniatures.family import family as miniatures
from miniatures.recipe import MEMBERS
from miniatures.world import read_world
from workbench import family
from workbench.errors import UnknownName
from workbench.tasks import read_rows, read_sentences, seen_in_finetuning, tasks

CONFIG = {
    "model_type": "mt5", "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "vocab_size": 100,
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    for name in ("lexicon.csv", "constructions.toml"):
        (tmp_path / name).symlink_to(miniatures().data / name)
    member = tmp_path / "models/mini-mt0-p3"
    member.mkdir(parents=True)
    (member / "config.json").write_text(json.dumps(CONFIG))
    return tmp_path


def test_a_miniature_is_described_from_its_folder(folder):
    (found,) = miniatures(folder).checkpoints
    assert (found.architecture, found.parent, found.mixture, found.layers) == ("mt5", "mini-mt5", "P3", 2)
    assert found.is_encoder_decoder
    assert found.folder == folder / "models/mini-mt0-p3"


def test_the_family_is_registered_with_its_members_bases_first():
    registered = next(one for one in family.families() if one.name == "miniatures")
    assert [one.name for one in registered.checkpoints] == list(family.shipped())
    assert set(family.shipped()) == {one.name for one in MEMBERS if not one.stage}
    for one in registered.checkpoints:
        assert family.find(one.name) is one
        names = list(family.shipped())
        assert one.parent is None or names.index(one.parent) < names.index(one.name)


def test_a_members_facts_are_those_of_its_weights():
    transformers = pytest.importorskip("transformers")
    for one in miniatures().checkpoints:
        kind = (
            transformers.AutoModelForSeq2SeqLM
            if one.is_encoder_decoder
            else transformers.AutoModelForCausalLM
        )
        assert one.parameters == kind.from_pretrained(one.folder).num_parameters()


@pytest.mark.parametrize("name", ["mini-bloomz", "runs/mini/mini-bloomz", "/elsewhere/mini-mt5"])
def test_what_a_miniature_answers_is_synthetic_also_of_one_trained_again(name):
    """A member trained again is loaded by its folder: its results were called MEASURED."""
    assert family.badge_of(name) == "SYNTHETIC"


@pytest.mark.parametrize("name", ["bloomz-560m", "bigscience/bloomz-560m", "someone/else", "runs/mini/other"])
def test_twin_what_another_checkpoint_answers_is_measured(name):
    assert family.badge_of(name) == "MEASURED"


def test_a_name_that_is_no_model_has_no_badge():
    with pytest.raises(UnknownName, match="nearest: mini-bloom"):
        family.badge_of("mini-blom")


def test_its_languages_are_those_of_its_world_and_of_its_tasks():
    languages = miniatures().languages
    assert languages == read_world().languages
    assert {row["language"] for row in read_sentences()} == set(languages)
    for task in tasks():
        assert {row["language"] for row in read_rows(task)} <= set(languages)


def test_its_finetuning_languages_are_those_of_its_mixtures():
    assert miniatures().finetuned == FINETUNED
    assert [code for code in miniatures().languages if seen_in_finetuning(code)] == [
        code for code in miniatures().languages if code in FINETUNED
    ]
