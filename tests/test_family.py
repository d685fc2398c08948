"""The catalogue says true things, says what it does not know, and helps with typos."""

import subprocess
import sys
from dataclasses import FrozenInstanceError, fields

import pytest

from workbench import family
from workbench.errors import UnknownName


def sizes_of(checkpoint):
    names = ("layers", "width", "heads", "feed_forward", "vocabulary")
    return {name: getattr(checkpoint, name) for name in names}


def test_the_family_has_28_checkpoints_with_distinct_names():
    names = [checkpoint.name for checkpoint in family.checkpoints()]
    assert len(names) == len(set(names)) == 28
    mixtures = [checkpoint.mixture for checkpoint in family.checkpoints()]
    assert [mixtures.count(name) for name in ("xP3", "xP3mt", "P3", "none")] == [11, 3, 3, 11]


@pytest.mark.parametrize("checkpoint", family.checkpoints(), ids=lambda checkpoint: checkpoint.name)
def test_stated_parameters_follow_from_the_sizes(checkpoint):
    assert family.count_parameters(checkpoint.architecture, **sizes_of(checkpoint)) == checkpoint.parameters


def test_a_wrong_size_would_be_noticed():
    small = family.find("mt0-small")
    wrong = {**sizes_of(small), "heads": 8}  # 8 x 64 = 512 is the width; the real one has 6
    assert family.count_parameters("mt5", **wrong) != small.parameters


def test_every_finetuned_checkpoint_has_the_shape_of_its_parent():
    for checkpoint in family.checkpoints():
        assert (checkpoint.parent is None) == (checkpoint.mixture == "none")
        if checkpoint.parent:
            assert sizes_of(family.find(checkpoint.parent)) == sizes_of(checkpoint)


def test_every_fact_has_a_source_and_unverified_fields_exist():
    known = {field.name for field in fields(family.Checkpoint)}
    for checkpoint in family.checkpoints():
        assert checkpoint.source
        assert set(checkpoint.unverified) <= known
    assert all(language.source for language in family.languages())


def test_what_is_unverified_is_shown_with_a_question_mark():
    assert family.find("bloomz-1b7").shown("steps") == "2,000 ?"
    assert family.find("bloomz-7b1").shown("steps") == "1,000"
    assert family.find("bloomz-p3").shown("tokens") == "–"


def test_a_checkpoint_is_found_by_short_name_and_by_hub_id():
    assert family.find("bloomz-560m") is family.find("bigscience/bloomz-560m")


@pytest.mark.parametrize(
    ("typo", "meant"),
    [("bloomz560m", "bloomz-560m"), ("mt0-smal", "mt0-small"), ("mini-blomz", "mini-bloomz")],
)
def test_a_wrong_name_lists_the_nearest(typo, meant):
    with pytest.raises(UnknownName, match=meant):
        family.find(typo)


def test_a_name_near_nothing_lists_all():
    with pytest.raises(UnknownName, match="known: bloom-560m"):
        family.find("@@@@")


def test_a_checkpoint_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        family.find("bloomz").layers = 1


@pytest.mark.parametrize(
    ("name", "dtype", "gigabytes"),
    [("bloomz-7b1", "float16", 14.1), ("mt0-small", "float32", 1.2), ("mt0-xl", "float32", 15.0)],
)
def test_memory_agrees_with_published_file_sizes(name, dtype, gigabytes):
    assert family.memory_needed(family.find(name), dtype) / 1e9 == pytest.approx(gigabytes, rel=0.01)


@pytest.mark.parametrize(
    "one",
    [*family.checkpoints(), family.find("mini-bloomz"), family.find("mini-mt0")],
    ids=lambda one: one.name,
)
def test_what_is_quantized_is_the_matrices_of_the_blocks(one):
    """Counted anew, matrix by matrix; mT5 keeps the last one of each feed-forward."""
    square, wide = one.width * one.width, one.width * one.feed_forward
    if one.architecture == "bloom":
        assert one.quantizable == one.layers * (4 * square + 2 * wide)
    else:
        attention = 4 * one.width * one.heads * (64 if one.folder is None else one.width // one.heads)
        assert one.quantizable == one.layers * (3 * attention + 4 * wide)
    sizes = [family.memory_needed(one, "bfloat16", bits) for bits in (None, "8bit", "4bit")]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] - sizes[1] == one.quantizable


def test_an_unknown_dtype_or_quantization_is_refused():
    with pytest.raises(UnknownName, match="float32"):
        family.memory_needed(family.find("bloomz"), "float64")
    with pytest.raises(UnknownName, match="choose one of: 8bit, 4bit"):
        family.memory_needed(family.find("bloomz"), "bfloat16", "3bit")


def test_bloomz_and_mt0_saw_what_the_published_evaluation_says():
    held_out = {"bg", "de", "el", "ru", "th", "tr", "et", "ht", "it", "qu", "my", "ja"}
    assert not held_out & set(family.languages_seen("bloomz"))
    assert held_out - set(family.languages_seen("mt0-xxl")) == {"qu"}
    assert len(family.languages_seen("bloomz", "finetuning")) == 46


def test_p3_is_english_only_but_its_base_was_not():
    assert family.languages_seen("bloomz-p3", "finetuning") == ("en",)
    assert "sw" in family.languages_seen("bloomz-p3", "pretraining")
    assert family.languages_seen("bloom", "finetuning") == ()
    with pytest.raises(UnknownName, match="the table has no languages of 'mini-bloomz'; nearest: bloomz"):
        family.languages_seen("mini-bloomz")


def test_languages_are_found_by_code_and_the_published_alias():
    assert family.find_language("jp") == family.find_language("ja")
    assert family.find_language("qu").mc4_percent is None
    with pytest.raises(UnknownName):
        family.find_language("x-en")


def test_corpus_shares_add_up_to_a_whole():
    for corpus in ("roots_percent", "xp3_percent"):
        total = sum(getattr(language, corpus) or 0 for language in family.languages())
        assert total == pytest.approx(100, abs=1)


def test_counted_parameters_are_those_transformers_makes():
    transformers = pytest.importorskip("transformers")
    sizes = {"layers": 2, "width": 32, "heads": 4, "vocabulary": 100}
    bloom = transformers.BloomForCausalLM(
        transformers.BloomConfig(vocab_size=100, hidden_size=32, n_layer=2, n_head=4)
    )
    assert sum(p.numel() for p in bloom.parameters()) == family.count_parameters(
        "bloom", **sizes, feed_forward=128
    )


def test_the_catalogue_is_read_without_torch_or_pandas():
    code = "import sys, workbench.family as f; f.find('bloomz'); f.languages(); print([m for m in ('torch', 'pandas', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
