"""Templates of other people are read safely and rendered with limits; ours say the same in seven languages."""

from collections import Counter

import pandas as pd
import pytest

from workbench.errors import BadInput
from workbench.paths import data_path
from workbench.prompts import Template, confined, read_promptsource, read_templates, render, render_all
from workbench.tasks import benchmarks, make_items

OURS = sorted(data_path("templates").glob("*.toml"))
ROW = {
    "id": "1",
    "cluster": "1",
    "language": "en",
    "label": 1,
    "premise": "It rained.",
    "choice1": "Wet.",
    "choice2": "Dry.",
}
OPEN = {"sentence_quiz1", "sentence_quiz2", "option1", "option2"}  # an open wording does not list its choices
YAML = """dataset: small
subset: en
templates:
  11111111-1111-1111-1111-111111111111: !Template
    answer_choices: '{{choice1}} ||| {{choice2}}'
    id: 11111111-1111-1111-1111-111111111111
    jinja: "{{premise}} So? ||| {{answer_choices[label]}}"
    metadata: !TemplateMetadata
      languages: [en]
      metrics: [Accuracy]
    name: so
    reference: ''
  22222222-2222-2222-2222-222222222222: !Template
    answer_choices: '{{choice1}} ||| {{choice2}}'
    id: 22222222-2222-2222-2222-222222222222
    jinja: "{{premise}} Basi? ||| {{answer_choices[label]}}"
    metadata: !TemplateMetadata {languages: null}
    name: so_swht
    reference: ''
"""


def checkout(folder, text=YAML, root="promptsource/templates"):
    path = folder / root / "small/en/templates.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("root", [".", "templates", "promptsource/templates"])
def test_promptsources_files_are_read_from_a_checkout_or_a_folder(tmp_path, root):
    first, second = read_promptsource(checkout(tmp_path, root=root), "small", "en")
    assert (first.name, first.language, first.translated, first.foreign) == ("so", "en", "", True)
    assert (second.family, second.language, second.translated) == ("so", "sw", "ht")
    [item] = make_items([ROW], [first])
    assert (item.prompt, item.choices, item.gold) == ("It rained. So?", ("Wet.", "Dry."), 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (YAML.replace("!TemplateMetadata", "!!python/object/apply:os.system", 1), "not a template file"),
        (YAML.replace("!TemplateMetadata", "!Other", 1), "not a template file"),
        (
            YAML.replace("languages: [en]", "languages: &a [en]").replace(
                "metrics: [Accuracy]", "metrics: *a"
            ),
            "aliases",
        ),
        ("templates: 3", "no mapping"),
        ("[" * 5000, "not a template file"),
        (YAML.replace("    name: so\n", ""), "lacks a name"),
        ("a" * 5_000_001, "at most"),
    ],
)
def test_a_template_file_that_is_not_plain_is_refused(tmp_path, text, message):
    with pytest.raises(BadInput, match=message):
        read_promptsource(checkout(tmp_path, text), "small", "en")


def test_a_data_set_that_a_checkout_lacks_lists_those_it_has(tmp_path):
    with pytest.raises(BadInput, match=r"no other/en/templates.yaml.*small/en"):
        read_promptsource(checkout(tmp_path), "other", "en")


def foreign(jinja, choices="a ||| b"):
    return Template("t", jinja, choices, foreign=True)


def test_a_foreign_template_renders_as_ours_does():
    ours = Template("t", "{{premise}} ||| {{choice1}}", "a ||| b")
    theirs = foreign("{{premise}} ||| {{choice1}}")
    assert render_all([theirs, ours], [ROW]) == [[render(ours, ROW)], [render(ours, ROW)]]
    assert render_all([theirs], []) == [[]]


@pytest.mark.parametrize(
    ("jinja", "message"),
    [
        ("{{ 'x' * 3000000000 }}", "MemoryError"),
        ("{% for a in premise %}" * 9 + "x" + "{% endfor %}" * 9, "'t' takes more than 1 s"),
        ("{{ 'x' * 1000000 }} ||| a", "at most 100000"),
        ("{{ premise.__class__ }}", "unsafe"),
        ("{{ premise.nothing.more }}", "nothing"),
        ("{{ 1 / 0 }}", "division"),
        ("{{ premise + 3 }}", "template 't'"),
    ],
)
def test_a_hostile_or_broken_foreign_template_is_one_sentence(monkeypatch, jinja, message):
    monkeypatch.setattr(confined, "_SECONDS", 1)
    with pytest.raises(BadInput, match=message):
        render_all([foreign("{{premise}} ||| a"), foreign(jinja)], [ROW])


def test_a_process_that_breaks_by_itself_is_not_called_slow(monkeypatch, tmp_path):
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho no module named json >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(confined.sys, "executable", str(broken))
    with pytest.raises(BadInput, match=r"broke at 't': no module named json"):
        render_all([foreign("{{premise}} ||| a")], [ROW])


@pytest.mark.parametrize(
    ("choices", "message"),
    [("", "choices"), ("a |||", "choices"), ("only", "two or more"), (" ||| ", "choices")],
)
def test_a_template_without_choices_to_choose_from_is_refused(choices, message):
    with pytest.raises(BadInput, match=message):
        render(Template("t", "x ||| y", choices), ROW)


def test_a_bar_inside_the_data_separates_nothing():
    row = {**ROW, "premise": "a ||| b", "choice1": "c ||| d"}
    prompt = render(Template("t", "{{premise}}! ||| {{answer_choices[0]}}", "{{choice1}} ||| e"), row)
    assert (prompt.text, prompt.choices, prompt.target) == ("a ||| b!", ("c ||| d", "e"), "c ||| d")


def test_long_fields_are_cut_as_promptsource_cuts_them_and_ours_are_not():
    row = {**ROW, "premise": "word " * 600}
    ours = Template("t", "{{premise}}End")
    cut = Template("t", "{{premise}}End", field_limit=2048)
    assert render(ours, row).text == "word " * 600 + "End"
    assert render(cut, row).text == ("word " * 409).strip() + "...End"


def test_the_digest_is_that_of_the_text_and_not_of_the_name():
    first = Template("a", "{{x}}", "b ||| c")
    assert first.digest == Template("other", "{{x}}", "b ||| c", language="sw").digest
    others = [
        Template("a", "{{x}} ", "b ||| c"),
        Template("a", "{{x}}", "b ||| d"),
        Template("a", "{{x}}", "b ||| c", field_limit=9),
    ]
    assert len({first.digest, *(other.digest for other in others)}) == 4


def sample(path):
    """A row with the fields that a file of ours names."""
    wordings = {b.wordings: b for b in benchmarks().values()}
    fields = {name: f"<{name}>" for name in wordings[path.stem].needed}
    return {**fields, "id": "1", "cluster": "1", "language": "en", "label": 1, "question": "cause"}


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.stem)
def test_our_wordings_are_five_to_a_language_alike_in_all_and_name_every_field(path):
    templates = read_templates(path)
    names = Counter((t.language, t.name) for t in templates)
    languages = list(dict.fromkeys(t.language for t in templates))
    assert set(names.values()) == {1}
    assert {len([t for t in templates if t.language == code]) for code in languages} == {5}
    assert len({frozenset(t.name for t in templates if t.language == code) for code in languages}) == 1
    assert len(languages) >= 7 or path.stem == "inference_two"
    for item in make_items([sample(path)], templates):
        assert item.gold == 1
        fields = {name for name in sample(path) if f"<{name}>" in item.prompt}
        needed = {n for n in sample(path) if sample(path)[n] == f"<{n}>"}
        assert fields | OPEN >= needed


def test_label_words_are_of_their_language_and_differ():
    """The traps of translated prompts: "No" as "number", "Correct" as "to correct", English left in."""
    templates = read_templates(data_path("templates/inference.toml"))
    words = {
        code: {w.strip() for t in templates if t.language == code for w in t.answer_choices.split("|||")}
        for code in {t.language for t in templates}
    }
    assert all(len(set(t.answer_choices.split("|||"))) == 3 for t in templates)
    shared = {code: words[code] & words["en"] for code in words if code != "en"}
    assert shared == {
        "es": {"No"},
        "fr": {"Possible", "Impossible", "Certain"},
        "id": set(),
        "ru": set(),
        "sw": set(),
        "zh": set(),
    }
    assert not any(
        word in each for each in words.values() for word in ("Corriger", "Numara", "Nummer", "رقم")
    )


def test_published_templates_are_there_for_every_published_name():
    """The five names in the table of tasks are those of the published single-template scores."""
    table = pd.read_csv(data_path("published_results.csv"), keep_default_na=False)
    single = table[table["statistic"] == "template"]
    for benchmark in benchmarks().values():
        for language in benchmark.languages:
            task, config = benchmark.published_cell(language)
            names = set(single[(single["task"] == task) & (single["config"] == config)]["template"])
            assert names == set(benchmark.five), (benchmark.name, language)
