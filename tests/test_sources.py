"""One call and one vocabulary for any source of data, and what each side of the family has seen of its languages."""

import csv
import json

import pandas as pd
import pytest
from test_docs import DOCS, run_blocks
from test_tasks import dataset_in_cache

from workbench import family
from workbench.errors import BadInput, NotReachable, UnknownName
from workbench.paths import data_path
from workbench.tasks import (
    contamination,
    exposure,
    make_items,
    offline_tasks,
    read_data,
    read_rows,
    read_sentences,
    read_texts,
    sources,
    task_templates,
    tasks,
)

XCOPA = data_path("examples/xcopa")
DESCRIBED = """
[[benchmark]]
name = "weather"
hub_id = "me/weather"
revision = "main"
config = "{language}"
split = "test"
languages = ["en", "th"]
needed = ["text"]
label = "label"
choices = 2
wordings = "wordings.toml"
"""
WORDINGS = '[[template]]\nname = "ask"\njinja = "{{text}} Bad or good? ||| {{answer_choices[label]}}"\nanswer_choices = "bad ||| good"\n'
ROWS = [{"text": "It rains.", "label": 0}, {"text": "The sun shines.", "label": 1}]


def write_rows(path, rows=ROWS):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def described(tmp_path, monkeypatch):
    """A table of a task on the hub, with its wordings beside it and its rows in the hub's cache."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (tmp_path / "wordings.toml").write_text(WORDINGS)
    (tmp_path / "mine.toml").write_text(DESCRIBED)
    return tmp_path / "mine.toml"


def test_facts_of_both_sides_are_those_of_the_table():
    with data_path("languages.csv").open(encoding="utf-8", newline="") as file:
        table = {row["code"]: row for row in csv.DictReader(file)}
    for code, row in table.items():
        found = exposure(code)
        shares = (found.pretraining["bloom"], found.pretraining["mt5"], found.finetuning)
        stated = (row["roots_percent"], row["mc4_percent"], row["xp3_percent"])
        assert shares == tuple(float(share) if share else None for share in stated)
        assert (found.name, found.is_known) == (row["name"], True)
        assert bool(found.script) == (code != "code")


@pytest.mark.parametrize(("name", "architecture"), [("bloomz-560m", "bloom"), ("mt0-small", "mt5")])
def test_they_agree_with_the_languages_that_a_checkpoint_has_seen(name, architecture):
    for language in family.languages():
        pretrained, finetuned = exposure(language.code).is_seen(architecture)
        assert pretrained == (language.code in family.languages_seen(name, "pretraining"))
        assert finetuned == (language.code in family.languages_seen(name, "finetuning"))


def test_a_language_outside_the_table_is_not_called_unseen():
    assert (exposure("x-fr").is_known, exposure("x-fr").name) == (False, "x-fr")
    assert (exposure("jp").name, exposure("tw").script, exposure("zh").script) == ("Japanese", "Latn", "Hans")


@pytest.mark.parametrize("task", offline_tasks())
def test_a_task_that_is_here_comes_from_its_source(task):
    data = read_data(task, limit=2)
    assert data.rows == tuple(read_rows(task, limit=2))
    assert data.templates == tuple(task_templates(task))
    assert len(data.items()) == len(
        make_items(data.rows, [t for t in data.templates if t.language == data.english])
    )
    name = next(name for name, its in sources().items() if task in its)
    assert read_data(task.removeprefix(f"{name}/"), name, limit=2) == data
    assert {one.code for one in data.languages} == {row["language"] for row in data.rows}
    assert (data.contaminated, data.untested) == ("", False)


def test_the_named_sources_have_all_tasks():
    known = sources()
    assert known["miniature"] == tuple(tasks())
    assert {task for name, its in known.items() if name != "published" for task in its} == set(
        offline_tasks()
    )


def test_files_of_a_published_task_are_read_in_its_schema_with_our_wordings():
    data = read_data("xcopa", XCOPA, limit=3)
    assert [one.code for one in data.languages] == ["sw", "zh"]
    assert len(data.items()) == 2 * 3 * 5
    assert data.untested is False
    chinese = [one for one in data.templates if one.language == "zh"]
    assert {item.template for item in data.items(chinese)} == {one.name for one in chinese}


def test_the_order_of_labels_follows_our_wordings():
    """CB counts entailment, contradiction, neutral; our wordings list what is ruled out last."""
    data = read_data("cb", data_path("examples/super_glue"))
    assert [item.target for item in data.items() if item.template == "follows"] == ["Yes", "No", "Maybe"] * 2


def test_rows_of_your_own_need_wordings_of_your_own(tmp_path):
    path = write_rows(tmp_path / "weather.jsonl")
    with pytest.raises(BadInput, match="has no wordings"):
        read_data("weather", path)
    (tmp_path / "w.toml").write_text(WORDINGS)
    data = read_data("weather", path, templates=tmp_path / "w.toml")
    assert [item.target for item in data.items()] == ["bad", "good"]
    assert data.source == "files weather.jsonl"


def test_a_task_that_a_table_describes_is_read_from_the_hubs_cache(described):
    dataset_in_cache(
        described.parent / "hub", "me/weather", "main", {"th/test/0.parquet": pd.DataFrame(ROWS)}
    )
    data = read_data("weather", described, languages=["th"])
    assert [item.target for item in data.items()] == ["bad", "good"]
    assert (data.source, data.untested) == ("me/weather@main", True)
    assert data.languages[0].pretraining["bloom"] is None
    with pytest.raises(UnknownName, match=r"mine.toml has no task 'wether'; it has: weather"):
        read_data("wether", described)


def test_without_the_data_the_hub_is_named(described):
    with pytest.raises(NotReachable, match="me/weather at revision main is not in the hub's cache"):
        read_data("weather", str(described), languages=["th"])
    for source in ("published", "cambridgeltl/xcopa"):
        with pytest.raises(NotReachable, match="cambridgeltl/xcopa"):
            read_data("xcopa", source, languages=["et"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("choices = 2", "chices = 2"), "chices"),
        (('name = "weather"', ""), "'?name'?"),
        (("[[benchmark]]", "[[task]]"), "benchmark"),
        (("[[benchmark]]", "[[benchmark"), "describe tasks"),
    ],
)
def test_a_table_with_a_mistake_is_refused(described, change, message):
    described.write_text(DESCRIBED.replace(*change))
    with pytest.raises(BadInput, match=message):
        read_data("weather", described)


def test_what_is_in_xp3_or_was_made_from_it_is_flagged(tmp_path):
    (tmp_path / "w.toml").write_text(WORDINGS)
    for name, reason in (
        ("belebele", "was made from Flores-200"),
        ("sib200", "Flores-200"),
        ("paws-x", "is in"),
    ):
        path = write_rows(tmp_path / f"{name}.jsonl")
        assert reason in read_data(f"my_{name}", path, templates=tmp_path / "w.toml").contaminated
        assert reason in read_data("mine", path, templates=tmp_path / "w.toml").contaminated
        assert reason in read_texts(path).contaminated
    assert contamination("facebook/belebele") != "" == contamination("sibling", "bele")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("topc",), r"no task called 'topc'; miniature: .*topic.*published: xnli.*file or folder"),
        (
            ("topic", "nowhere"),
            r"no source 'nowhere'; choose one of: miniature, lexicon, parallel, published",
        ),
        (("xnli", "lexicon"), r"lexicon has no task 'xnli'; it has: lexicon/meanings"),
        (("topic", "published"), r"published has no task 'topic'; it has: xnli"),
        (("xnli", "cambridgeltl/xcopa"), r"cambridgeltl/xcopa has no task 'xnli'; it has: xcopa"),
    ],
)
def test_a_source_or_task_that_is_not_there_is_refused_with_those_that_are(given, message):
    with pytest.raises(UnknownName, match=message):
        read_data(*given)


def test_a_revision_belongs_to_the_hub():
    with pytest.raises(BadInput, match="drop the revision"):
        read_data("words", "lexicon", revision="main")


def test_texts_come_from_any_source_that_has_some(tmp_path):
    assert read_texts("miniature", limit=3).rows == tuple(read_sentences(limit=3))
    rows = [
        {"text": "It rains.", "language": "en", "id": 1, "wet": True},
        {"text": "ฝนตก", "language": "th", "id": 1},
    ]
    data = read_texts(write_rows(tmp_path / "mine.jsonl", rows))
    assert [(row["cluster"], row["text"]) for row in data.rows] == [("1", "It rains."), ("1", "ฝนตก")]
    assert (data.rows[0]["wet"], data.source, len(data.languages)) == (True, "files mine.jsonl", 2)
    with pytest.raises(BadInput, match="xwinograd has no texts for probes"):
        read_texts("published", task="xwinograd")
    with pytest.raises(BadInput, match="must be a text"):
        read_texts(write_rows(tmp_path / "bad.jsonl", [{"text": 3}]))


def test_rows_of_a_published_task_are_texts_of_their_own_meanings():
    data = read_texts(data_path("examples/xnli"), languages=["fr"])
    assert (data.task, data.attribute, len({row["cluster"] for row in data.rows})) == ("xnli", "label", 6)
    assert data.rows[0]["text"] == f"{data.rows[0]['premise']} {data.rows[0]['hypothesis']}"
    stories = read_texts(XCOPA, languages=["sw"])
    for number, row in enumerate(stories.rows):
        shown = row[f"choice{number % 2 + 1}"]
        assert row["text"] == f"{row['premise']} {shown}"
    labels = [row["label"] for row in read_data("xcopa", XCOPA, languages=["sw"]).rows]
    plausible = [row["plausibility"] == "yes" for row in stories.rows]
    assert plausible == [number % 2 == label for number, label in enumerate(labels)]
    assert not any("label" in row for row in stories.rows)


def test_the_code_of_the_page_on_data_runs_as_it_stands():
    found = run_blocks((DOCS / "data.md").read_text(encoding="utf-8"))
    assert {item.language for item in found["items"]} == {"sw", "th"}
    assert {row["kind"] for row in found["words"].rows} == {"country", "language", "month", "weekday"}
    assert len(found["sentences"].languages) == 24
