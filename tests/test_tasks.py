"""Rows and templates become items; what is broken is named with its file, line or template."""

import datetime
import gzip
import json
from decimal import Decimal

import pandas as pd
import pyarrow
import pytest
from pyarrow import parquet

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


ROWS = [{"id": "a", "text": "naïve", "label": 1}, {"id": "b", "text": "你好", "label": 0}]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
CSV = "id,text,label\na,naïve,1\nb,你好,0\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rows.jsonl", LINES),
        ("rows.jsonl", LINES + "\n\n"),
        ("rows.jsonl", "\n" + LINES.replace("\n", "\r\n  \n")),
        ("rows.jsonl", "\ufeff" + LINES),
        ("ROWS.JSONL", LINES),
        ("rows.json", LINES),
        ("rows.json", json.dumps(ROWS, indent=2)),
        ("rows.json", "\ufeff\n " + json.dumps(ROWS)),
        ("rows.jsonl.gz", LINES),
        ("rows.json.gz", json.dumps(ROWS)),
        ("rows.CSV", "\ufeff" + CSV),
        ("rows.csv.gz", CSV),
        ("rows.tsv", CSV.replace(",", "\t")),
        ("rows.jsonl", LINES.replace('"label": 1', '"label": 1.0').replace('"label": 0', '"label": "0"')),
        ("rows.csv", CSV.replace(",1", ",1.0")),
    ],
)
def test_rows_are_the_same_in_every_form_that_files_have(tmp_path, name, text):
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    for data in (path, tmp_path, str(path)):
        read = read_any("mine", data)
        assert [(row["id"], row["text"], row["label"]) for row in read] == [
            ("a", "naïve", 1),
            ("b", "你好", 0),
        ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("r.jsonl.gz", gzip.compress(LINES.encode(), mtime=0)[:-9], "cannot be read"),
        ("r.jsonl.gz", LINES.encode(), "cannot be read: Not a gzipped file"),
        ("r.parquet", b"PAR1 nothing", "cannot be read"),
        ("r.json", b'{"data": [\n1]}', "line 1 is not JSON"),
        ("r.json", b"[1, 2]", "row 1 holds a int"),
        ("r.json", b"[{]", "cannot be read"),
        ("r.jsonl", b'{"label": 0}\n{"label": ' + b"[" * 100_000, "line 2 is not JSON"),
        ("r.jsonl", '{"label": 0}'.encode("utf-16"), "line 1 is not JSON in UTF-8"),
        ("r.csv", CSV.encode("utf-16"), "cannot be read"),
        ("r.csv", b"x,label,x\n1,0,2\n", "two fields have the same name"),
        (
            "r.jsonl",
            b'{"label": 0}\n{"label": 1, "x": 2, "label": 0}',
            "line 2 is not JSON.*two fields have the same name",
        ),
        ("r.json", b'[{"label": 1, "x": {"y": 2, "y": 3}}]', "two fields have the same name, of 'y', 'y'"),
        ("r.jsonl", b"\n\n", "holds no row; give"),
        ("r.csv.gz", gzip.compress(b"", mtime=0), "holds no row"),
        ("r.jsonl", b'\n{"label": 0, "x": {"y": "\\ud83d"}}', "line 2, field 'x', holds half of a surrogate"),
        ("r.jsonl", b'{"label": 0, "x": 1e999}', "line 1, field 'x', holds inf"),
        ("r.jsonl", b'{"label": 0, "language": 3}', "line 1 has 3 as 'language'"),
        ("r.jsonl", b'{"label": true}', "line 1 has the label True"),
        ("r.jsonl", b'{"label": 0.5}', "line 1 has the label 0.5"),
        ("r.txt", b"", "holds no .jsonl"),
        ("r.parquet.gz", b"", "holds no .jsonl"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_sentence_with_its_place(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput, match=message):
        read_any("mine", tmp_path / name)


def test_damage_in_a_parquet_file_is_told_on_one_line(tmp_path):
    """Arrow's reasons may have several; and of two columns of one name the last alone was read."""
    path = tmp_path / "r.parquet"
    columns = [pyarrow.array([0, 1]), pyarrow.array(["x", "y"])]
    parquet.write_table(pyarrow.table(columns, names=["label", "x"]), path)
    raw = path.read_bytes()
    assert len(read_any("mine", path)) == 2  # the twin
    path.write_bytes(raw[:-60] + bytes(40) + raw[-20:])
    with pytest.raises(BadInput, match=r"cannot be read: \S.*; repair it") as caught:
        read_any("mine", path)
    assert "\n" not in str(caught.value)
    parquet.write_table(pyarrow.table([columns[0], *columns], names=["label", "x", "x"]), path)
    with pytest.raises(BadInput, match="two fields have the same name, of 'label', 'x', 'x'"):
        read_any("mine", path)


def test_what_no_template_names_may_be_missing_and_is_null(tmp_path):
    """A NaN, as pandas writes a missing value, refused the file without naming a row."""
    (tmp_path / "r.jsonl").write_text(
        '{"label": 0, "x": NaN, "id": null, "cluster": null, "language": null}\n' * 2
    )
    rows = read_any("mine", tmp_path / "r.jsonl")
    assert [(r["x"], r["id"], r["cluster"], r["language"]) for r in rows] == [
        (None, "r-0", "r-0", "und"),  # the null clusters were one meaning called "None"
        (None, "r-1", "r-1", "und"),
    ]
    day = datetime.datetime(2020, 1, 2, tzinfo=datetime.UTC)
    frame = pd.DataFrame({"label": [0.0], "when": [day], "price": [Decimal("1.50")], "x": [float("nan")]})
    frame.to_parquet(tmp_path / "s.parquet")
    [row] = read_any("mine", tmp_path / "s.parquet")
    assert (row["label"], row["when"], row["price"], row["x"]) == (0, str(day), "1.50", None)
    assert fingerprint([row])
    pd.DataFrame({"label": [0], "x": [b"bytes"]}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(BadInput, match=r"row 1, field 'x', holds b'bytes'"):
        read_any("mine", tmp_path / "t.parquet")


def test_folders_are_read_through_links_and_without_what_is_hidden(tmp_path):
    away, data = tmp_path / "away", tmp_path / "data"
    (data / ".ipynb_checkpoints").mkdir(parents=True)
    away.mkdir()
    (data / "sw").symlink_to(away)
    (data / "round").symlink_to(data)
    row = {"premise": "a", "choice1": "b", "choice2": "c", "question": "cause", "label": 0, "idx": 0}
    write(away / "val.jsonl", [json.dumps(row)])
    write(data / ".ipynb_checkpoints/val.th.jsonl", ["broken"])
    write(data / "dataset_info.json", ['{"a":', "1}"])  # beside data sets of the hub
    [read] = read_benchmark(benchmarks()["xcopa"], data=data)
    assert read["language"] == "sw"


def story(folder, name, **fields):
    needed = dict.fromkeys(benchmarks()["xstory_cloze"].needed, "x")
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    write(folder / name, [json.dumps({**needed, "answer_right_ending": 1, **fields})])


@pytest.mark.parametrize(
    ("name", "fields", "language"),
    [
        ("my_stories/validation.es.jsonl", {}, "es"),  # it was Burmese (my) too
        ("sorted_by_id/validation.sw.jsonl", {}, "sw"),
        ("my-id/validation_sw.jsonl", {}, "sw"),
        ("sw/validation-00000-of-00001.jsonl", {}, "sw"),
        ("data/sw/my.id_validation.jsonl", {"language": "te"}, "te"),
        ("validation.es.jsonl", {"language": "my"}, "my"),
        ("xstory-my.jsonl", {}, "my"),
        ("my.jsonl", {}, "my"),
        ("my/validation.jsonl", {}, "my"),
    ],
)
def test_a_language_is_a_field_or_stands_at_a_known_place_of_the_path(tmp_path, name, fields, language):
    story(tmp_path / "my_es", name, **fields)  # the folder that is given, and those above it, say nothing
    rows = read_benchmark(benchmarks()["xstory_cloze"], data=tmp_path / "my_es")
    assert [row["language"] for row in rows] == [language]


def test_a_path_with_two_languages_is_refused_unless_rows_have_their_own(tmp_path):
    story(tmp_path, "id/validation.sw.jsonl")
    with pytest.raises(BadInput, match=r"names 2 languages: id, sw; give its rows a field"):
        read_benchmark(benchmarks()["xstory_cloze"], data=tmp_path)
    story(tmp_path, "id/validation.sw.jsonl", language="sw")
    assert [r["language"] for r in read_benchmark(benchmarks()["xstory_cloze"], data=tmp_path)] == ["sw"]


def test_files_without_a_language_are_of_the_one_asked_for(tmp_path):
    for part in range(2):
        story(tmp_path / "my", f"validation-{part}.jsonl")
    with pytest.raises(UnknownName, match=r"there are: none"):
        read_benchmark(benchmarks()["xstory_cloze"], data=tmp_path / "my")
    rows = read_benchmark(benchmarks()["xstory_cloze"], (code for code in ["my"]), data=tmp_path / "my")
    assert [row["language"] for row in rows] == ["my", "my"]


@pytest.mark.parametrize("limit", [0, -1, float("nan"), 1.5, True, "2"])
def test_a_limit_that_is_no_whole_number_is_refused_everywhere(tmp_path, limit):
    """-1 left out the last meaning without a word."""
    write(tmp_path / "mine.jsonl", [LINES])
    asks = [
        lambda: read_rows("who", limit=limit),
        lambda: read_sentences(limit=limit),
        lambda: read_any("mine", tmp_path / "mine.jsonl", limit=limit),
        lambda: read_benchmark(benchmarks()["xwinograd"], limit=limit, data=example("xwinograd")),
        lambda: read_benchmark(benchmarks()["xnli"], limit=limit, data=example("xnli")),
    ]
    for ask in asks:
        with pytest.raises(BadInput, match=r"limit=.*; give a whole number of at least 1"):
            ask()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"label": "1"}, "label '1'; 'who' gives 2 choices, so give a whole number from 0 to 1"),
        ({"label": True}, "label True"),
        ({"label": None}, "label None|is null"),
        ({"id": ...}, "row 1 lacks the field 'id'; it has: cluster"),
    ],
)
def test_rows_from_python_are_checked_like_those_of_files(row, message):
    choice = Template("who", "{{x}} ||| Ben", "Ben ||| Ana")
    with pytest.raises(BadInput, match=message):
        make_items([{k: v for k, v in {**ROW, **row}.items() if v is not ...}], [choice])


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


RANKED = [name for name, one in benchmarks().items() if one.kind == "rank"]


@pytest.mark.parametrize("name", RANKED)
def test_every_published_task_is_read_from_files_in_its_schema_and_rendered_in_our_wordings(name):
    benchmark = benchmarks()[name]
    rows = read_benchmark(benchmark, data=example(name))
    assert {row["label"] for row in rows} == set(range(benchmark.choices))
    if benchmark.order:
        rows = [{**row, "label": benchmark.order[row["label"]]} for row in rows]
    templates = [t for t in read_templates(benchmark.wordings_path) if t.language == "en"]
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
    flagged = {b.name for b in benchmarks().values() if contamination(b.name, b.hub_id)}
    assert flagged == {"paws_x", "sib_200", "belebele", "xquad", "mlqa", "flores_to_en", "flores_from_en"}
    assert not any(contamination(b.name, b.hub_id) for b in benchmarks().values() if b.published)
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
