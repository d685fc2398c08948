"""Rows and templates become items; what is broken is named with its file, line or template."""

import json

import pandas as pd
import pytest

from workbench.errors import BadInput, NotReachable, UnknownName
from workbench.paths import data_path
from workbench.prompts import Template, read_templates, render
from workbench.tasks import (
    benchmarks,
    contamination,
    few_shot_items,
    fingerprint,
    make_items,
    read_any,
    read_benchmark,
    read_rows,
    read_sentences,
    task_templates,
    tasks,
)
from workbench.tasks.local import select
from workbench.tasks.tables import read_table

ROW = {"id": "a", "cluster": "c", "language": "x-en", "label": 1, "passage": "Ana has 3 lamps.", "x": "lamps"}
WHO = Template(
    name="who",
    jinja="{{passage}} Who? ||| {{answer_choices[label]}}",
    answer_choices="Ben ||| Ana",
    task="who",
)


def test_a_template_gives_prompt_choices_and_target():
    [item] = make_items([ROW], [WHO])
    assert (item.prompt, item.choices, item.gold, item.target) == (
        "Ana has 3 lamps. Who?",
        ("Ben", "Ana"),
        1,
        "Ana",
    )
    assert (item.cluster, item.language, item.template, item.task) == ("c", "x-en", "who", "who")


@pytest.mark.parametrize(
    ("jinja", "message"),
    [
        ("{{nowhere}}", "nowhere.*passage"),
        ("{{passage", "template 't'"),
        ("{% if false %}x{% endif %} ||| y", "empty prompt"),
        ("{{passage.__class__.__mro__}}", "template 't'"),
        ("{{'x' * 10000000}}", "at most|template 't'"),
        ("{% for i in range(9) %}{% endfor %}", "range"),
    ],
)
def test_a_broken_or_hostile_template_is_refused_by_name(jinja, message):
    with pytest.raises(BadInput, match=message):
        render(Template(name="t", jinja=jinja), ROW)


def test_a_label_without_a_choice_is_refused():
    with pytest.raises(BadInput, match="no element 2"):
        make_items([{**ROW, "label": 2}], [WHO])
    with pytest.raises(BadInput, match=r"the label -1; 'who' gives 2 choices"):
        make_items([{**ROW, "label": -1}], [WHO])


def write(path, lines):
    path.write_text("\n".join(lines), encoding="utf-8")


def test_no_stays_no_and_limits_count_meanings(tmp_path):
    rows = [{**ROW, "cluster": str(n), "language": code} for n in range(3) for code in ("no", "x-en")]
    write(tmp_path / "t.jsonl", map(json.dumps, rows))
    read = [row.fields for row in read_table(tmp_path / "t.jsonl", list(ROW))]
    found = select(read, ["no"], 2, "t")
    assert [(row["cluster"], row["language"]) for row in found] == [("0", "no"), ("1", "no")]
    with pytest.raises(UnknownName, match=r"no language 'x-fr'.*no, x-en"):
        select(rows, ["x-fr"], None, "t")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{broken", "line 2 is not JSON"),
        ('{"id": "naïve"}'.encode("latin-1"), "line 2 is not JSON in UTF-8"),
        (b'{"id": 1}', "line 2 lacks.*cluster"),
        (b"[1, 2]", "line 2 holds a list"),
        (b"3", "line 2 holds a int"),
    ],
)
def test_a_broken_line_is_named(tmp_path, line, message):
    (tmp_path / "t.jsonl").write_bytes(json.dumps(ROW).encode() + b"\n" + line + b"\n")
    with pytest.raises(BadInput, match=message):
        read_table(tmp_path / "t.jsonl", ("id", "cluster"))


def test_only_line_breaks_part_rows(tmp_path):
    """U+2028 and U+0085 are allowed inside a text of JSON; to Python's splitlines they end a line."""
    rows = [{"text": "one\u2028two\u0085three"}, {"text": "four"}]
    write(tmp_path / "t.jsonl", [json.dumps(row, ensure_ascii=False) for row in rows])
    assert [row.fields for row in read_table(tmp_path / "t.jsonl", ["text"])] == rows
    assert len((tmp_path / "t.jsonl").read_text(encoding="utf-8").splitlines()) == 4  # the twin


@pytest.mark.parametrize("value", [float("nan"), pd.Timestamp("2020-01-01"), b"bytes"])
def test_a_row_that_no_json_can_hold_is_one_sentence(value):
    assert fingerprint([{**ROW, "x": 1.5}]) != fingerprint([ROW])
    with pytest.raises(BadInput, match="what JSON cannot"):
        fingerprint([{**ROW, "x": value}])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[template]]\nname = 'a'", "lacks `name` or `jinja`"),
        ("[[template]]\nname = 'a'\njinja = 'x'\nchoices = 'y'", "unknown field 'choices'"),
        ("not toml", "not TOML"),
        ("[[templates]]\nname = 'a'\njinja = 'x'", "has no templates"),
        ("[template]\nname = 'a'\njinja = 'x'", "has no templates"),
        (
            "[[template]]\nname = 'a'\njinja = 'x'\nanswer_choices = ['y', 'n']",
            r"\['y', 'n'\] as answer_choices",
        ),
        ("[[template]]\nname = 'a'\njinja = 'x'\nheld_out = 'no'", "true or false"),
    ],
)
def test_a_broken_template_file_is_named(tmp_path, text, message):
    (tmp_path / "t.toml").write_text(text)
    with pytest.raises(BadInput, match=rf"t.toml.*{message}"):
        read_templates(tmp_path / "t.toml")


def test_a_wrong_task_lists_those_there_are():
    with pytest.raises(UnknownName, match=r"whoo.*who"):
        read_rows("whoo")
    with pytest.raises(UnknownName, match=r"whoo.*who"):
        task_templates("whoo")


@pytest.mark.parametrize("task", tasks())
def test_every_shipped_task_renders_with_every_wording_in_every_language(task):
    rows = read_rows(task, limit=4)
    items = make_items(rows, task_templates(task))
    assert len(items) == len(rows) * len(task_templates(task))
    assert all(item.prompt and item.target for item in items)
    assert all(item.choices[item.gold] == item.target for item in items if item.choices)


def test_sentences_are_parallel():
    rows = read_sentences(limit=10)
    languages = {row["language"] for row in rows}
    assert len(rows) == 10 * len(languages)
    assert len({(row["id"], row["language"]) for row in rows}) == len(rows)


# The published tasks ---------------------------------------------------------------------------------------------

EXAMPLES = data_path("examples")
WHERE = {
    "rte": "super_glue",
    "cb": "super_glue",
    "copa": "super_glue",
    **{f"anli_r{n}": "anli" for n in (1, 2, 3)},
}


def example(name):
    return EXAMPLES / WHERE.get(name, name)


@pytest.mark.parametrize("name", benchmarks())
def test_every_published_task_is_read_from_files_in_its_schema_and_rendered_in_our_wordings(name):
    benchmark = benchmarks()[name]
    rows = read_benchmark(benchmark, data=example(name))
    assert {row["label"] for row in rows} == set(range(benchmark.choices))
    templates = [
        t for t in read_templates(data_path(f"templates/{benchmark.wordings}.toml")) if t.language == "en"
    ]
    items = make_items([row for row in rows if row["language"] == rows[0]["language"]], templates)
    assert len(items) == 5 * sum(row["language"] == rows[0]["language"] for row in rows)
    assert {item.gold for item in items} == set(range(benchmark.choices))


def test_parallel_items_share_a_meaning_and_others_do_not():
    xnli = read_benchmark(benchmarks()["xnli"], ["fr", "sw"], data=example("xnli"))
    assert {row["cluster"] for row in xnli} == {
        "0",
        "1",
    }  # two premises, three hypotheses each, in both languages
    xwinograd = read_benchmark(benchmarks()["xwinograd"], ["en", "fr"], data=example("xwinograd"))
    assert len({row["cluster"] for row in xwinograd}) == len(xwinograd) == 6
    assert len(read_benchmark(benchmarks()["xnli"], ["fr", "sw"], 1, example("xnli"))) == 6
    assert len(read_benchmark(benchmarks()["xwinograd"], ["en", "fr"], 1, example("xwinograd"))) == 2


def test_labels_that_count_from_one_keep_their_number_and_type_for_templates_of_others():
    first, second, *_ = read_benchmark(benchmarks()["winogrande"], data=example("winogrande"))
    assert (first["label"], first["answer"], second["label"], second["answer"]) == (0, "1", 1, "2")


@pytest.mark.parametrize("kind", ["parquet", "csv", "tsv"])
def test_the_same_rows_are_read_from_every_kind_of_file(tmp_path, kind):
    rows = read_benchmark(benchmarks()["xcopa"], ["sw"], data=example("xcopa"))
    table = pd.read_json(example("xcopa") / "val.sw.jsonl", lines=True)
    path = tmp_path / "sw" / f"validation.{kind}"
    path.parent.mkdir()
    table.to_parquet(path) if kind == "parquet" else table.to_csv(
        path, sep="\t" if kind == "tsv" else ",", index=False
    )
    again = read_benchmark(benchmarks()["xcopa"], data=tmp_path)
    assert [{k: str(v) for k, v in row.items()} for row in again] == [
        {k: str(v) for k, v in row.items()} for row in rows
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": -1}, r"line 1 has the label -1 in 'label'; allowed is 0 to 1"),
        ({"label": 2}, "label 2"),
        ({"label": "one"}, "label 'one'"),
        ({"label": None}, "label None"),
        ({"premise": ""}, "'' as 'premise'"),
        ({"premise": None}, "None as 'premise'"),
        ({"choice2": ...}, "lacks the field 'choice2'"),
        ({"idx": ""}, "line 1 has '' as 'idx'"),
        ({"idx": None}, "None as 'idx'"),
    ],
)
def test_a_row_without_a_field_or_a_label_is_named(tmp_path, change, message):
    row = {
        "premise": "a",
        "choice1": "b",
        "choice2": "c",
        "question": "cause",
        "label": 0,
        "idx": 0,
        **change,
    }
    row = {key: value for key, value in row.items() if value is not ...}
    write(tmp_path / "val.sw.jsonl", [json.dumps(row)])
    with pytest.raises(BadInput, match=message):
        read_benchmark(benchmarks()["xcopa"], data=tmp_path)


def test_a_language_that_is_not_there_lists_those_that_are():
    with pytest.raises(UnknownName, match=r"no language 'en'; it has: et, ht"):
        read_benchmark(benchmarks()["xcopa"], ["en"], data=example("xcopa"))
    with pytest.raises(UnknownName, match=r"no rows of xcopa in ta.*there are: sw, zh"):
        read_benchmark(benchmarks()["xcopa"], ["sw", "ta"], data=example("xcopa"))


def test_one_file_tells_its_language_by_a_field(tmp_path):
    rows = [{"premise": "a", "hypothesis": "b", "label": 0, "language": code} for code in ("fr", "sw", "fr")]
    write(tmp_path / "rows.jsonl", map(json.dumps, rows))
    read = read_benchmark(benchmarks()["xnli"], data=tmp_path / "rows.jsonl")
    assert [row["language"] for row in read] == ["fr", "fr", "sw"]


def test_other_splits_in_the_folder_are_left_alone(tmp_path):
    for split, premise in (("train", "no"), ("validation", "yes"), ("test", "no")):
        write(tmp_path / f"{split}.jsonl", [json.dumps({"premise": premise, "hypothesis": "b", "label": 0})])
    assert [row["premise"] for row in read_benchmark(benchmarks()["rte"], data=tmp_path)] == ["yes"]


def dataset_in_cache(cache, hub_id, revision, files, commit="d" * 40):
    root = cache / f"datasets--{hub_id.replace('/', '--')}"
    ref = root / "refs" / revision
    ref.parent.mkdir(parents=True)
    ref.write_text(commit)
    for name, table in files.items():
        path = root / "snapshots" / commit / name
        path.parent.mkdir(parents=True)
        table.to_parquet(path)


def test_what_the_hub_gave_once_is_read_offline_and_another_revision_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    table = pd.read_json(example("xcopa") / "val.sw.jsonl", lines=True)
    files = {"sw/validation/0000.parquet": table}
    dataset_in_cache(tmp_path, "cambridgeltl/xcopa", "refs/convert/parquet", files)
    rows = read_benchmark(benchmarks()["xcopa"], ["sw"])
    assert [row["premise"] for row in rows] == table["premise"].tolist()
    with pytest.raises(NotReachable, match=r"xcopa at revision main is not in the hub's cache.*--data"):
        read_benchmark(benchmarks()["xcopa"], ["sw"], revision="main")
    with pytest.raises(NotReachable, match=r"request.*--data"):
        read_benchmark(benchmarks()["story_cloze"])


def test_rows_of_your_own_need_no_more_than_a_label(tmp_path):
    write(
        tmp_path / "mine.jsonl",
        [json.dumps({"text": "a", "label": 1}), json.dumps({"text": "b", "label": 0, "language": "no"})],
    )
    rows = read_any("mine", tmp_path / "mine.jsonl")
    assert [(row["id"], row["language"], row["label"]) for row in rows] == [
        ("mine-0", "und", 1),
        ("mine-1", "no", 0),
    ]
    write(tmp_path / "nameless.jsonl", [json.dumps({"text": "a", "label": 1, "language": None})])
    assert read_any("mine", tmp_path / "nameless.jsonl")[0]["language"] == "und"
    write(tmp_path / "bad.jsonl", [json.dumps({"text": "a"})])
    with pytest.raises(BadInput, match="lacks the field 'label'"):
        read_any("bad", tmp_path / "bad.jsonl")


def test_cells_of_a_table_stay_the_texts_they_are(tmp_path):
    """A column of numbers or of true and false was rewritten: 007 became 7, and true became True."""
    write(tmp_path / "mine.csv", ["code,said,label", "007,true,1", "010,false,0"])
    rows = read_any("mine", tmp_path / "mine.csv")
    assert [(row["code"], row["said"], row["label"]) for row in rows] == [
        ("007", "true", 1),
        ("010", "false", 0),
    ]
    numbers = "premise,choice1,choice2,question,idx,label\nHow many?,2,3,cause,0,1\nHow few?,4,5,effect,1,0\n"
    (tmp_path / "val.sw.csv").write_text(numbers)
    xcopa = read_benchmark(benchmarks()["xcopa"], data=tmp_path / "val.sw.csv", languages=["sw"])
    assert [(row["choice1"], row["cluster"], row["label"]) for row in xcopa] == [("2", "0", 1), ("4", "1", 0)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x,label\na,1,0\nb,0,1\n", "row 1 has not as many cells"),
        ("x,label\na,1\nb\n", "row 2 has not as many cells"),
        ('x,label\n"a,1\nb,0\n', "unexpected end"),
        ('x,label\n"a" b,1\n', "expected after"),
        ("x\na\n", "lacks the field 'label'"),
    ],
)
def test_a_table_whose_cells_do_not_fit_its_first_line_is_refused(tmp_path, text, message):
    """With a cell too many in every row the first became an index, and all others stood under the wrong name."""
    (tmp_path / "mine.csv").write_text(text)
    with pytest.raises(BadInput, match=rf"mine.csv.*{message}"):
        read_any("mine", tmp_path / "mine.csv")


def test_a_quoted_cell_may_hold_separators_quotes_and_line_breaks(tmp_path):
    (tmp_path / "mine.csv").write_text('\ufeffx,label\n"a, ""b""\nc",1\n', encoding="utf-8")
    assert [(row["x"], row["label"]) for row in read_any("mine", tmp_path / "mine.csv")] == [('a, "b"\nc', 1)]


def test_training_data_of_xp3_are_known_under_their_names_and_held_out_tasks_are_not():
    for name in (
        "flores200",
        "facebook/flores",
        "paws-x",
        "google-research-datasets/paws-x",
        "xquad.de",
        "GEM/wiki_lingua",
    ):
        assert "xP3" in contamination(name), name
    assert not any(contamination(b.name, b.hub_id) for b in benchmarks().values())
    assert contamination("pawsome", "arcade") == ""


def test_exemplars_stand_before_each_question_and_are_asked_no_more():
    rows = read_benchmark(benchmarks()["xcopa"], data=example("xcopa"))
    [template] = [
        t
        for t in read_templates(data_path("templates/causes.toml"))
        if (t.language, t.name) == ("en", "complete")
    ]
    items = few_shot_items(rows, [template], 2, seed=1)
    plain = make_items(rows, [template])
    assert len(items) == len(plain) - 2 * 2
    for item in items:
        own = next(p for p in plain if p.id == item.id)
        others = [
            p for p in plain if p.language == item.language and p.cluster not in {i.cluster for i in items}
        ]
        assert item.prompt.endswith(own.prompt)
        assert sum(f"{p.prompt} {p.target}\n\n" in item.prompt for p in others) == 2
    assert few_shot_items(rows, [template], 2, seed=1) == items != few_shot_items(rows, [template], 2, seed=3)


def test_exemplars_can_be_of_another_language():
    rows = read_benchmark(benchmarks()["xcopa"], data=example("xcopa"))
    template = Template("t", "{{premise}} ||| {{answer_choices[label]}}", "{{choice1}} ||| {{choice2}}")
    items = few_shot_items(rows, [template], 1, language="zh")
    swahili = next(item for item in items if item.language == "sw")
    assert swahili.prompt.split("\n\n")[0].endswith("。")
    assert not swahili.prompt.endswith("。")
    with pytest.raises(BadInput, match=r"4 exemplars.*4 meanings"):
        few_shot_items(rows, [template], 4)


def test_a_target_that_is_no_choice_is_refused_and_a_template_may_list_choices_in_its_own_order():
    turned = Template("t", "{{x}} ||| {{answer_choices[1 - label]}}", "no ||| yes")
    [item] = make_items([ROW], [turned])
    assert (item.gold, item.target) == (0, "no")
    with pytest.raises(BadInput, match="target 'maybe'"):
        make_items([ROW], [Template("t", "{{x}} ||| maybe", "no ||| yes")])
