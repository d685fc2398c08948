"""Rows and templates become items; what is broken is named with its file, line or template."""

import json

import pytest

from workbench.errors import BadInput, UnknownName
from workbench.tasks import make_items, read_rows, read_sentences, task_templates, tasks
from workbench.templates import Template, read_templates, render

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
    found = read_rows("t", ["no"], limit=2, folder=tmp_path)
    assert [(row["cluster"], row["language"]) for row in found] == [("0", "no"), ("1", "no")]
    with pytest.raises(UnknownName, match=r"no language 'x-fr'.*no, x-en"):
        read_rows("t", ["x-fr"], folder=tmp_path)


@pytest.mark.parametrize(
    ("line", "message"), [("{broken", "line 2 is not JSON"), ('{"id": 1}', "line 2 lacks.*cluster")]
)
def test_a_broken_line_is_named(tmp_path, line, message):
    write(tmp_path / "t.jsonl", [json.dumps(ROW), line])
    with pytest.raises(BadInput, match=message):
        read_rows("t", folder=tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[template]]\nname = 'a'", "lacks `name` or `jinja`"),
        ("[[template]]\nname = 'a'\njinja = 'x'\nchoices = 'y'", "unknown field 'choices'"),
        ("not toml", "not TOML"),
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
