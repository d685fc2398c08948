"""What fits a source of data where nothing is named: its tasks, languages and attribute are those that it has."""

import pytest

from workbench.errors import BadInput
from workbench.family import parents
from workbench.tasks import (
    attributes,
    expect_attribute,
    exposure,
    fitting,
    read_data,
    read_texts,
    seen_in_finetuning,
    shared_meanings,
    sources,
)


def test_a_miniature_gets_its_world_and_any_other_checkpoint_real_words():
    assert fitting("", "mini-bloomz", "mini-mt0").source == "miniature"
    assert {fitting("", name).source for name in ("bloomz-560m", "some-one/model", "/a/folder")} == {
        "lexicon"
    }
    assert fitting("published", "mini-bloomz").source == "published"


def test_a_folder_or_hub_id_called_as_a_published_task_has_that_task():
    assert fitting("/a/xnli/").tasks == fitting("facebook/xnli").tasks == ("xnli",)
    assert fitting("/a/mine").tasks == ()


@pytest.mark.parametrize(("source", "meanings"), [("lexicon", 200), ("parallel", 60)])
def test_what_fits_a_source_is_there_and_half_of_its_languages_were_seen_in_finetuning(source, meanings):
    fits = fitting(source)
    for task in fits.tasks:
        assert {one.code for one in read_data(task, languages=fits.languages).languages} == set(
            fits.languages
        )
    texts = shared_meanings(read_texts(source, languages=["en", *fits.languages]).rows)
    assert fits.attribute in attributes(texts)
    assert len({row["cluster"] for row in texts}) >= meanings
    seen = [seen_in_finetuning(code) for code in fits.languages]
    assert (seen.count(True), seen.count(False)) == (5, 4)
    assert seen == [exposure(code).finetuning is not None for code in fits.languages]


@pytest.mark.parametrize("source", ["miniature", "lexicon", "parallel"])
def test_every_named_source_says_what_its_data_are(source):
    assert source in sources()
    assert fitting(source).about.startswith("The items are ")
    assert fitting(source).attribute


def test_bases_are_those_of_the_catalogue():
    assert parents(["bloomz-7b1-mt", "bigscience/mt0-small", "mini-mt0"]) == [
        "bloom-7b1",
        "mt5-small",
        "mini-mt5",
    ]
    for name, why in {"bloom": "was only pretrained", "/a/folder": "is not in the catalogue"}.items():
        with pytest.raises(BadInput, match=f"{name} {why}, so no base is known for it"):
            parents([name])


def test_what_was_in_the_finetuning_depends_on_whose():
    """The miniatures' mixture was once said to be that of BLOOMZ, in their world."""
    seen = {
        model: [seen_in_finetuning(code, model) for code in ("fr", "de", "x-fr", "x-sw")]
        for model in ("bloomz", "/a/folder", "mini-bloomz", "")
    }
    assert seen["bloomz"] == seen["/a/folder"] == [True, False, False, False]
    assert seen["mini-bloomz"] == [False, False, True, False]
    assert seen[""] == [True, False, True, False]


def test_only_meanings_that_all_languages_have_are_shared():
    rows = [
        {"cluster": str(n), "language": code}
        for n in range(6)
        for code in ("en", "fr")
        if (n, code) != (2, "fr")
    ]
    assert [row["cluster"] for row in shared_meanings(rows, 3)] == ["0", "0", "1", "1", "3", "3"]
    assert len(shared_meanings(rows)) == 10
    first = read_texts("miniature", limit=7).rows
    assert shared_meanings(read_texts("miniature").rows, 7) == list(first)
    with pytest.raises(BadInput, match="limit=0"):
        shared_meanings(rows, 0)


def test_attributes_are_fields_of_the_meaning_whose_values_are_shared():
    rows = [
        {
            "id": n,
            "cluster": str(n),
            "language": code,
            "text": "x",
            "even": n % 2,
            "number": n,
            "own": code,
            "one": 1,
        }
        for n in range(8)
        for code in ("en", "fr")
    ]
    assert attributes(rows) == ("even",)
    assert expect_attribute("even", rows, "mine") == "even"
    for wrong in ("number", "own", "one", "cluster", ""):
        with pytest.raises(BadInput, match=r"mine have no attribute .*; choose one of: even$"):
            expect_attribute(wrong, rows, "mine")
