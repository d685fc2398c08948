"""Laws of the pages: what stands in a run's files is shown as text, hurts no reader, and spoils no other run."""

import json
import re
import shutil
from html.parser import HTMLParser
from urllib.parse import unquote

import nbconvert
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from workbench import runs
from workbench.errors import BadInput
from workbench.runs.notebook_page import accessible, write_report
from workbench.runs.results import write_table
from workbench.runs.summary import summary
from workbench.runs.sweep_page import write_sweep_page

PNG = bytes.fromhex("89504e470d0a1a0a")
NASTY = "what is 100%? #1 \"><base href=x> ' & a:b"


def run_folder(root, notebook="mine", run_id="default-1", **manifest):
    """A finished run, made by hand."""
    folder = root / notebook / run_id
    (folder / "figures").mkdir(parents=True)
    content = {
        "run_id": run_id, "notebook": notebook, "status": "done", "exit_code": 0, "ended": "2026-01-01T00:00:00+00:00",
        "seconds": 1.5, "parameters": {"language": "no"}, "answer": "It is **so**.", **manifest,
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(content))
    (folder / "metrics.json").write_text('{"accuracy": 0.5}')
    nbformat.write(new_notebook(cells=[new_markdown_cell(f"# About {notebook}")]), folder / "notebook.ipynb")
    for name in ("report.html", "stderr.log", "figures/a ?.png", "figures/a ?.csv"):
        (folder / name).write_bytes(PNG)
    facts = {"badge": "SYNTHETIC", "alt": f"A figure of {notebook}.", "rows": 3}
    (folder / "figures/a ?.json").write_text(json.dumps(facts))
    if content["status"] == "done":
        (folder / "_SUCCESS").touch()
    return folder


class Seen(HTMLParser):
    """The elements and links of a page, as a browser reads them."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.links, self.attributes = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name) for name, _ in attrs]
        self.links += [value for name, value in attrs if name == "href" and not value.startswith("#")]


def test_links_lead_to_their_files_whatever_these_are_called_and_no_name_becomes_html(tmp_path):
    run_folder(tmp_path, NASTY)
    run_folder(tmp_path, f"{NASTY} too", "default-2.failed-1", status="failed", exit_code=1)
    sweep = tmp_path / "sweeps" / NASTY
    sweep.mkdir(parents=True)
    (sweep / "index.html").touch()
    seen = Seen(runs.write_index(tmp_path).read_text())
    assert len(seen.links) == 9
    for link in seen.links:
        assert (tmp_path / unquote(link)).exists(), link
    assert "base" not in seen.tags


BAD = {
    "run.json": ["{", "[1]", "[" * 100_000, '{"run_id": 7}', b"\xff", '{"format": 1}'],
    "metrics.json": ["[1]", '{"accuracy": [1]}'],
    "figures/a ?.json": ["{", '{"badge": "><b>", "alt": "", "rows": 1}', '{"alt": "x"}'],
    "notebook.ipynb": ["{", '{"cells": 7}'],
}


@pytest.mark.parametrize(("name", "content"), [(name, each) for name in BAD for each in BAD[name]])
def test_a_damaged_file_of_one_run_spoils_no_page_and_is_named_on_it(tmp_path, name, content):
    run_folder(tmp_path, "good")
    bad = run_folder(tmp_path, "bad")
    (bad / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    page = runs.write_index(tmp_path).read_text()
    assert "A figure of good." in page
    if name.startswith("figures"):
        assert "The figure a ? cannot be read" in page
    elif name == "notebook.ipynb":
        assert "About bad" not in page
    else:
        assert "unreadable" in page
        assert name in page
        assert "| bad/default-1 | unreadable" in summary([tmp_path])
        with pytest.raises(BadInput, match="unreadable"):
            runs.read(tmp_path)


def test_a_run_of_a_sweep_that_was_damaged_since_is_named_on_its_page_and_left_out_of_its_table(tmp_path):
    listed = []
    for number in range(3):
        folder = run_folder(tmp_path, NASTY, f"seed-{number}", parameters={"seed": number})
        run = {"run_id": folder.name, "folder": f"../../{NASTY}/{folder.name}", "given": {"seed": number}}
        listed.append({**run, "models": [], "state": "done", "exit_code": 0, "message": ""})
    (folder / "run.json").write_text("{")
    sweep = tmp_path / "sweeps/mine"
    sweep.mkdir(parents=True)
    content = {"name": "mine", "file": {"notebook": NASTY}, "counts": {"done": 3}, "runs": listed}
    (sweep / "sweep.json").write_text(json.dumps(content))
    write_table(sweep)
    page = write_sweep_page(sweep).read_text()
    assert "unreadable: run.json" in page
    seen = Seen(page)
    assert "base" not in seen.tags
    for link in seen.links:
        assert (sweep / unquote(link)).exists(), link
    shutil.rmtree(folder)
    assert list(runs.read(sweep)["seed"]) == [0, 1]


def test_a_run_that_was_cut_off_is_shown_as_unfinished(tmp_path):
    for name in ("default-1.failed-1", ".default-2.part"):
        (tmp_path / "mine" / name).mkdir(parents=True)
    page = runs.write_index(tmp_path).read_text()
    assert page.count("unfinished") == 2
    assert "Runs that did not succeed (2)" in page
    assert "it goes on, or its process was ended" in page


STYLED = (
    '<style type="text/css">#T_a_row0_col0 {background-color: #f00; position: fixed}\nbody {color: red}'
    '@import url(//x);[a="</style><meta>"] {color: red}</style>'
    '<table id="T_a"><tr><td id="T_a_row0_col0" class="data" style="position:fixed;color:red">1</td></tr></table>'
)
HOSTILE = [
    '<meta http-equiv="refresh" content="0;url=http://x">', '<base href="http://x">', "<form action=//x><input></form>",
    "<iframe src=//x></iframe>", "<script>alert(1)</script>", "<img src=//x onerror=alert(1)>", "<link rel=stylesheet href=//x>",
    '<a href="javascript:alert(1)">a</a>', '<a href="data:text/html,x">a</a>', "<style>body{display:none}", "<object data=x>",
    "<svg><style>*{position:fixed}</style></svg>", "<math><mtext></form><form><mglyph><style></math><meta http-equiv=refresh>",
]  # fmt: skip
FORBIDDEN = {"base", "form", "iframe", "script", "link", "object", "embed", "svg", "math", "mglyph"}


def hostile_notebook():
    data = [{"text/html": html} for html in HOSTILE] + [
        {kind: HOSTILE[0]} for kind in ("text/latex", "image/png")
    ]
    data += [{"application/javascript": "alert(1)"}, {"image/svg+xml": HOSTILE[-2]}, {"text/html": STYLED}]
    outputs = [new_output("display_data", each) for each in data]
    outputs[-5]["metadata"] = {"image/png": {"width": "1 style=position:fixed", "height": 2}}
    prose = [new_markdown_cell("\n\n".join(HOSTILE)), new_markdown_cell("a < b & [c](http://d) $x_1$")]
    return new_notebook(cells=[*prose, new_code_cell("1 < 2", outputs=outputs, execution_count=1)])


def harm(page):
    """What a browser would act on, beside our own head."""
    seen = Seen(page.split("<body>", 1)[-1])
    found = sorted(FORBIDDEN & set(seen.tags)) + [tag for tag in seen.tags if tag == "meta"]
    found += [link for link in seen.links if link.startswith(("javascript", "data"))]
    return (
        found + [name for _, name in seen.attributes if name.startswith("on")] + ["fixed"] * ("fixed" in page)
    )


def test_a_report_shows_tables_and_their_styles_and_nothing_that_acts(tmp_path, monkeypatch):
    """The twin: what nbconvert writes by itself."""
    monkeypatch.chdir(tmp_path)
    notebook = hostile_notebook()
    nbformat.write(notebook, "notebook.ipynb")
    write_report(NASTY)
    page = (tmp_path / "report.html").read_text()
    assert harm(page) == []
    assert "form-action 'none'; base-uri 'none'" in page
    assert ".output_html #T_a_row0_col0 { background-color: #f00; }" in page
    assert ".output_html body { color: red; }" in page, "a rule for the page holds inside outputs"
    assert re.search(r'<td [^>]*id="T_a_row0_col0"[^>]* style="color:red;">1</td>', page)
    assert '<a href="http://d"' in page
    assert "a &lt; b" in page
    assert len(harm(nbconvert.HTMLExporter(template_name="basic").from_notebook_node(notebook)[0])) > 10


def elements(page, tag):
    """The attributes of each element of a kind."""
    found = []

    class Reader(HTMLParser):
        def handle_starttag(self, name, attributes):
            if name == tag:
                found.append(dict(attributes))

    Reader().feed(page)
    return found


def sweep_of(root, runs, **content):
    """A sweep with its page; `runs` are parameters and metrics."""
    listed = []
    for number, (given, metrics) in enumerate(runs):
        folder = run_folder(
            root,
            "mine",
            f"run-{number}-{number:012x}",
            parameters=given,
            digests={given.get("model", "m"): "0a"},
        )
        (folder / "metrics.json").write_text(json.dumps(metrics))
        listed.append(
            {"run_id": folder.name, "folder": f"../../mine/{folder.name}", "given": given, "state": "done"}
        )
    sweep = root / "sweeps/sweep"
    sweep.mkdir(parents=True)
    file = {"notebook": "/some/where/mine.ipynb"}
    text = {"name": "sweep", "file": file, "counts": {"done": len(listed)}, "runs": listed, **content}
    (sweep / "sweep.json").write_text(json.dumps(text))
    return sweep


def test_a_reader_of_the_page_of_runs_meets_headings_models_and_nothing_twice(tmp_path):
    run_folder(tmp_path, digests={"mini-bloomz": "0a", "mini-mt0": "0b"})
    page = runs.write_index(tmp_path).read_text()
    nav = page[page.index("<nav") : page.index("</nav>")]
    assert "About mine" in nav
    assert re.search(r'class="sub">mini-bloomz, mini-mt0 ·', page)
    assert page.count("A figure of mine.") == 1
    assert page.count('class="badge SYNTHETIC"') == 1, (
        "what it means, above; a figure has its own in the picture"
    )
    assert elements(page, "img")[0]["alt"] == "SYNTHETIC: A figure of mine."


WIDE = (
    "<table><thead><tr><th></th><th>a</th></tr></thead><tbody><tr><th>1</th><td>2</td></tr></tbody></table>"
)


def report_of(outputs, monkeypatch, folder, models=(), **metadata):
    monkeypatch.chdir(folder)
    cells = [
        new_code_cell(
            "x = 1", outputs=[new_output("display_data", each) for each in outputs], execution_count=1
        )
    ]
    nbformat.write(new_notebook(cells=cells, metadata=metadata), "notebook.ipynb")
    write_report("mine", models)
    return (folder / "report.html").read_text()


def test_wide_tables_and_figures_of_a_report_scroll_by_keyboard_each_under_its_own_name(
    tmp_path, monkeypatch
):
    page = report_of([{"text/html": WIDE}, {"text/html": WIDE}], monkeypatch, tmp_path, ["mini-mt0"])
    regions = [each for each in elements(page, "div") if each.get("role") == "region"]
    assert [each["aria-label"] for each in regions] == ["Table 1", "Table 2"]
    assert {each["tabindex"] for each in regions} == {"0"}
    assert not re.search(r"<th[^>]*>\s*</th>", page)
    assert "mine · mini-mt0" in page
    assert re.search(r'<input type="checkbox" id="show-code"><label for="show-code">Show code</label>', page)


def test_a_table_within_an_attribute_is_none():
    assert "region" not in accessible('<p title="<table><th></th>">a</p>')


def test_a_report_shows_the_html_that_a_widget_put_beside_itself(tmp_path, monkeypatch):
    """The twin: by itself nbconvert prefers the widget, of which nothing is left."""
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "a", "version_major": 2}}
    outputs = [
        {**view, "text/html": "<b>an answer</b>", "text/plain": "VBox()"},
        {**view, "text/plain": "Slider()"},
    ]
    state = {"a": {"model_name": "VBoxModel", "model_module": "@jupyter-widgets/controls", "state": {}}}
    widgets = {"application/vnd.jupyter.widget-state+json": {"version_major": 2, "state": state}}
    page = report_of(outputs, monkeypatch, tmp_path, widgets=widgets)
    assert "<b>an answer</b>" in page
    assert "Slider()" in page
    alone = nbconvert.HTMLExporter(template_name="basic").from_filename("notebook.ipynb")[0]
    assert "an answer" not in alone


def test_a_sweep_page_groups_runs_and_shows_whole_names_and_recorded_intervals(tmp_path):
    long = "a-checkpoint-whose-name-is-longer-than-any-page-is-wide"
    made = [
        (
            {"model": model, "language": language, "seed": seed},
            {"score": value + seed, "same": 1, "published": 2},
        )
        for model, value in (("short", 1), (long, 2))
        for language in ("en", "sw")
        for seed in (0, 1)
    ]
    page = write_sweep_page(sweep_of(tmp_path, made)).read_text()
    assert "<h1>About mine</h1>" in page
    assert "by model, language, seed" in page
    assert "/some/where" not in page[: page.index('id="facts"')]
    groups = re.findall(r'class="group">([^<]*)<', page)
    assert groups == ["short", long]
    assert page.count('class="mean"') == 4, "a row for each model and language, over two seeds"
    assert "1.5 (1 to 2)" in page
    assert "Equal in all runs (2)" in page
    assert len({len(name) for name in re.findall(r'class="id" href="[^"]*">([0-9a-f]+)<', page)}) == 1


def test_an_interval_that_a_notebook_recorded_is_drawn_and_is_no_chart_of_its_own(tmp_path):
    made = [
        ({"seed": seed}, {"score": seed, "score_low": seed - 0.5, "score_high": seed + 1.0})
        for seed in (0, 1)
    ]
    page = write_sweep_page(sweep_of(tmp_path, made)).read_text()
    assert re.findall(r"<h3>(\w+)", page) == ["score"]
    assert "0 [-0.5, 1]" in page
    assert 'class="range" style="left:0.00%;right:calc(100% - 60.00%)"' in page


def test_figures_that_models_share_are_shown_once(tmp_path):
    made = [({"model": model}, {"score": value}) for value, model in enumerate("ab")]
    sweep = sweep_of(tmp_path, made)
    assert len(elements(write_sweep_page(sweep).read_text(), "img")) == 1
    (tmp_path / "mine/run-1-000000000001/figures/a ?.png").write_bytes(PNG * 2)
    assert len(elements(write_sweep_page(sweep).read_text(), "img")) == 2
