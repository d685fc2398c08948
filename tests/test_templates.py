"""Templates of other people are read safely and rendered with limits; ours say the same in seven languages."""

import time
from collections import Counter
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from tests.promptsource_files import PROMPTSOURCE, checkout
from workbench.errors import BadInput
from workbench.paths import data_path
from workbench.prompts import (
    Template,
    confined,
    read_promptsource,
    read_templates,
    render,
    render_all,
    worker,
)
from workbench.tasks import benchmarks, few_shot_items, make_items, read_benchmark

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
ENGLISH = {"inference_two", "paraphrases", "news_topics", "passages", "exams"}  # in no other language
OPEN = {
    "sentence_quiz1",
    "sentence_quiz2",
    "option1",
    "option2",
    *(f"option_{each}" for each in "abcd"),
    *(f"mc_answer{n}" for n in range(1, 5)),
}  # an open wording does not list its choices


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
        (
            PROMPTSOURCE.replace("!TemplateMetadata", "!!python/object/apply:os.system", 1),
            "not a template file",
        ),
        (PROMPTSOURCE.replace("!TemplateMetadata", "!Other", 1), "not a template file"),
        ("templates: 3", "no mapping"),
        ("[" * 5000, "not a template file"),
        (PROMPTSOURCE.replace("    name: so\n", ""), "lacks a name"),
        (
            PROMPTSOURCE.replace("    name: so\n", "    name: so\n    name: other\n"),
            r"key 'name' in line 12 .* twice; repair",
        ),
        (PROMPTSOURCE.replace("2222", "1111"), "key '11111111-.* in line 13 .* twice"),
        ("a" * 5_000_001, "at most"),
    ],
)
def test_a_template_file_that_is_not_plain_is_refused(tmp_path, text, message):
    with pytest.raises(BadInput, match=message):
        read_promptsource(checkout(tmp_path, text), "small", "en")


def test_aliases_are_read_and_words_stay_texts(tmp_path):
    """squad_v2 has aliases; and `no` is a name, not False."""
    text = PROMPTSOURCE.replace("languages: [en]", "languages: &a [en]").replace(
        "metrics: [Accuracy]", "metrics: *a"
    )
    text = text.replace("name: so\n", "name: no\n").replace("name: so_swht", "name: 2016-01-01")
    assert [t.name for t in read_promptsource(checkout(tmp_path, text), "small", "en")] == [
        "no",
        "2016-01-01",
    ]


@pytest.mark.parametrize(
    ("extra", "refused"),
    [
        ("x: &x [*x]\n", False),
        (
            "a: &a [x,x]\n"
            + "".join(f"a{n}: &a{n} [{'*a' if n == 0 else f'*a{n - 1}'},*a]\n" for n in range(40)),
            False,
        ),
        ("x: " + "1:" + ":".join(["59"] * 100_000) + "\n", False),  # a sexagesimal number: seconds to compute
        ("x: " + "[" * 50_000 + "\n", True),
        ("x: [" + "1, " * 1_500_000 + "]\n", True),
    ],
    ids=["recursive", "doubling", "sexagesimal", "deep", "wide"],
)
def test_yaml_that_takes_long_ends_at_the_limit_and_what_grows_by_aliases_does_not_grow(
    tmp_path, monkeypatch, extra, refused
):
    """300 kB took 8 s, 4.8 MB over ten minutes, in the caller's own process."""
    monkeypatch.setattr(confined, "_SECONDS", 1)
    folder = checkout(tmp_path, PROMPTSOURCE + extra)
    if not refused:
        assert len(read_promptsource(folder, "small", "en")) == 2
        return
    with pytest.raises(BadInput, match=r"takes more than 1 s|not a template file"):
        read_promptsource(folder, "small", "en")


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_byte_order_mark_is_no_part_of_a_template_file(tmp_path, mark):
    (tmp_path / "t.toml").write_text(f"{mark}[[template]]\nname = 'a'\njinja = 'x'\n", encoding="utf-8")
    assert [t.name for t in read_templates(tmp_path / "t.toml")] == ["a"]
    found = read_promptsource(checkout(tmp_path, mark + PROMPTSOURCE), "small", "en")
    assert [t.name for t in found] == ["so", "so_swht"]


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
        ("{{ 'x' * 1000000 }} ||| a", "at most 100000"),
        ("{{ premise.__class__ }}", "unsafe"),
    ],
)
def test_what_fails_in_the_process_of_its_own_is_one_sentence_here(jinja, message):
    with pytest.raises(BadInput, match=message):
        render_all([foreign("{{premise}} ||| a"), foreign(jinja)], [ROW])


ITEMS = {"words": ["a", "b", "a"], "pairs": [{"k": "v"}, {"k": None}], "gone": None, "n": 3, "text": "t"}
ANSWERS = [  # unusual, and right
    ("{{ [1, 2] }}", "[1, 2]"),
    ("{{ 3 + n }}{{ true }}", "6True"),
    ("{{ words | join(', ') }}", "a, b, a"),
    ("{{ words | most_frequent | first }}", "a"),
    ("{% for a, b in zip(words, [1, 2]) %}{{ a }}{{ b }}{% endfor %}", "a1b2"),
    ("{% for i in range(n) %}{{ i }}{% endfor %}", "012"),
    ("{% set s = namespace(x=0) %}{% for w in words %}{% set s.x = s.x + 1 %}{% endfor %}{{ s.x }}", "3"),
    ("{% macro f(x) %}<{{ x }}>{% endmacro %}{{ f('y') }}", "<y>"),
    ("{{ gone or 'other' }}{% if gone is none and gone == none and not gone %}!{% endif %}", "other!"),
    ("{{ gone | default('d', true) }}{{ pairs[0].k }}", "dv"),
    ("{{ nowhere | default('d') }}", "d"),
    ("{{ text | attr('upper') | string | length > 0 }}", "True"),
    ("{# never closed in a {{ comment #}x", "x"),
    ("{{ '|' }}{{ '{{' }}", "|{{"),
    ("{{ self }}", "<TemplateReference None>"),
    ("{{ 'x'.format(1) }}{{ '%s' % n }}", "x3"),
]
FAULTS = [  # quick to fail: broken, or reaching for what is not theirs
    "{{ gone }}", "{{ gone | string }}", "{{ gone ~ 'x' }}", "{{ [gone] | join }}", "{{ '%s' % gone }}", "{{ gone | upper }}",
    "{{ pairs }}", "{{ pairs[1].k }}", "{{ gone.x }}", "{{ nowhere }}", "{{ text.nowhere }}", "{{ pairs[9].k }}",
    "{{ text.__class__ }}", "{{ text | attr('__class__') }}", "{{ ''['__class__'] }}", "{{ words.append(1) }}",
    "{{ '{0.__class__}'.format(text) }}", "{{ ''.__class__.__mro__[1].__subclasses__() }}", "{{ lipsum() }}", "{{ dict(a=1) }}",
    "{{ self._TemplateReference__context }}", "{{ namespace.__init__.__globals__ }}", "{{ zip.__globals__ }}",
    "{{ range(10 ** 9) }}", "{% for i in range(100001) %}{% endfor %}", "{{ words[0 }}", "{% if %}", "{% for %}{% endfor %}",
    "{% include 'x' %}", "{% extends 'x' %}", "{% import 'x' as y %}", "{{ caller() }}", "{% unknown %}", "{{ x | nowhere }}",
    "{{ 1 / 0 }}", "{{ 'x' + 1 }}", "{{ [] | first | length }}", "{{ [] | choice }}", "{{ 10 ** 5000 }}", "{{ 'x' * 10 ** 30 }}",
    "{{ n() }}", "{{ text(text) }}", "{{ f(a=1, a=2) }}", "{{ text | int('x') | nowhere }}", "{{ text | wordwrap(0) }}",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "{{ '\\ud83d' }}", "{{ 'x' * 200000 }}", "{{ " + "(" * 500 + "1" + ")" * 500 + " }}",
    "{% if 1 %}" * 120 + "x" + "{% endif %}" * 120, "{{ text | map | list }}", "{{ words | sort(attribute='x') }}", "{{ {} | tojson(x=1) }}",
]  # fmt: skip
HUGE = [
    "{{ 'x' * 3000000000 }}", "{{ 'x' | center(3000000000) }}", "{{ '%3000000000d' % 1 }}", "{{ 9 ** (9 ** 9) }}",
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
]  # fmt: skip


@pytest.mark.parametrize(("jinja", "text"), ANSWERS)
def test_an_unusual_template_gives_its_answer(jinja, text):
    assert render(foreign(jinja + "||| a"), ITEMS).text == text


@pytest.mark.parametrize("jinja", FAULTS)
def test_a_hostile_or_broken_template_is_a_sentence_with_its_name_in_a_moment(jinja):
    started = time.process_time()
    line, good = worker.answer("template 't'", partial(worker._render, foreign(jinja), [ITEMS]))
    assert not good
    assert b"template 't'" in line
    assert time.process_time() - started < 1


@pytest.mark.parametrize("jinja", HUGE)
def test_a_template_that_takes_too_much_ends_at_the_limit(monkeypatch, jinja):
    monkeypatch.setattr(confined, "_SECONDS", 1)
    with pytest.raises(BadInput, match=r"template 't' (takes more than 1 s|fails with MemoryError)"):
        render_all([foreign(jinja)], [ITEMS])


def test_draws_of_a_template_depend_on_the_row_and_on_nothing_else():
    """promptsource draws from a global generator, and Jinja's own filter once, as it compiles: `[1, 2, 3] | random` was one number
    for all rows, another in every process."""
    drawing = foreign("{{ range(1000) | choice }} {{ range(1000) | random }} ||| a")
    rows = [{**ROW, "id": str(n)} for n in range(20)]
    [there], [again] = render_all([drawing], rows), render_all([drawing], rows[::-1])
    assert there == again[::-1] == [render(drawing, row) for row in rows]
    assert len({prompt.text for prompt in there}) == 20
    assert all(len(set(prompt.text.split())) == 2 for prompt in there)


CAUSES = foreign(
    "{% if question == 'cause' %}{{premise}} ||| {{answer_choices[label]}}{% endif %}", "x ||| y"
)
BOTH = Template("both", "{{premise}}! ||| {{answer_choices[label]}}", "x ||| y", foreign=True)


def test_rows_for_which_a_template_renders_nothing_are_skipped_as_published():
    rows = [{**ROW, "id": n, "cluster": n, "question": q} for n, q in enumerate(("cause", "effect", "cause"))]
    assert [(item.cluster, item.template) for item in make_items(rows, [CAUSES, BOTH])] == [
        (0, "t"), (0, "both"), (1, "both"), (2, "t"), (2, "both"),
    ]  # fmt: skip
    with pytest.raises(BadInput, match="'t' renders nothing for any of the 1 rows"):
        make_items(rows[1:2], [CAUSES])
    with pytest.raises(BadInput, match="empty prompt for the row 1"):  # half of it is there
        make_items([rows[1]], [foreign("{% if question == 'cause' %}x{% endif %} ||| x", "x ||| y")])


def test_a_meaning_that_a_template_skips_is_no_exemplar():
    rows = [{**ROW, "id": n, "cluster": n, "question": "cause" if n % 2 else "effect"} for n in range(6)]
    for seed in range(2):
        items = few_shot_items(rows, [CAUSES, BOTH], 2, seed=seed)
        assert Counter(item.template for item in items) == {"t": 1, "both": 4}
    with pytest.raises(BadInput, match="have 3 meanings that every wording fits"):
        few_shot_items(rows, [CAUSES, BOTH], 4)


def test_a_null_that_a_template_names_is_refused_with_the_row_and_the_field(tmp_path):
    """It became the text "None", in promptsource too."""
    row = {**ROW, "hint": None, "id": "7"}
    assert render(WITHOUT, row).text == "It rained."
    with pytest.raises(BadInput, match=r"row '7': the field 'hint' is null"):
        render(Template("t", "{{premise}} {{hint}} ||| x"), row)
    with pytest.raises(BadInput, match="'hint' is null"):  # promptsource's cut makes texts of everything
        render_all([Template("t", "{{hint}} ||| x", foreign=True, field_limit=2048)], [row])


WITHOUT = Template("t", "{{premise}}{% if hint %} {{hint}}{% endif %} ||| x")


def test_published_templates_that_skip_rows_are_read_and_rendered():
    """Four of the twelve for XCOPA were refused."""
    shared = Path(__file__).parents[2] / "shared/data"
    if not (shared / "promptsource/xcopa").is_dir():
        pytest.skip("needs promptsource's files (../shared/data/promptsource)")
    templates = [t for t in read_promptsource(shared / "promptsource", "xcopa", "en") if t.answer_choices]
    rows = read_benchmark(benchmarks()["xcopa"], ["id"], data=shared / "xcopa")
    counts = Counter(item.template for item in make_items(rows, templates))
    assert sorted(counts.values()) == [47, 47, 53, 53] + [100] * (len(templates) - 4)


def test_a_process_that_breaks_by_itself_is_not_called_slow(monkeypatch, tmp_path):
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho no module named json >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(confined.sys, "executable", str(broken))
    with pytest.raises(BadInput, match=r"failed at template 't': no module named json"):
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
    assert len(languages) >= 7 or path.stem in ENGLISH
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
    for benchmark in (one for one in benchmarks().values() if one.published):
        for language in benchmark.languages:
            task, config = benchmark.published_cell(language)
            names = set(single[(single["task"] == task) & (single["config"] == config)]["template"])
            assert names == set(benchmark.five), (benchmark.name, language)
