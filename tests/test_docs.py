"""The code that the documentation shows runs, and gives what it says."""

import re
import runpy
import warnings
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"


def run_blocks(text):
    names = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # such as that of words a miniature does not know
        for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
            exec(block, names)
    return names


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_STORE", str(tmp_path / "store.sqlite"))
    monkeypatch.chdir(tmp_path)


def test_the_code_of_the_python_page_runs_as_it_stands():
    found = run_blocks((DOCS / "python.md").read_text(encoding="utf-8"))
    assert found["answers"][0].text == " Anna a 4 pommes."
    assert found["table"].loc[0, "correct"]
    assert set(found["gains"]["language"]) == {"x-en", "x-fr"}


def test_the_code_of_the_evaluation_page_writes_what_it_says():
    found = run_blocks((DOCS / "evaluation.md").read_text(encoding="utf-8"))
    assert len(found["result"].items) == 2 * len(found["plan"].items)
    assert {path.suffix for path in found["files"]} == {
        ".parquet",
        ".csv",
        ".md",
        ".tex",
        ".json",
        ".png",
        ".pdf",
    }
    assert all(path.exists() for path in found["files"])


def test_the_code_of_the_audit_page_finds_what_it_says(monkeypatch):
    monkeypatch.setenv("WORKBENCH_BATCH", "1")
    cells = run_blocks((DOCS / "audit.md").read_text(encoding="utf-8"))["cells"].set_index("organism")
    assert cells.loc["independent", "coverage"] > 0.9
    assert 0.35 < cells.loc["clustered", "coverage"] < 0.65


def test_the_code_of_the_playgrounds_page_runs_and_gives_pages():
    found = run_blocks((DOCS / "playground.md").read_text(encoding="utf-8"))
    assert [step.text for step in found["found"].steps] == [" yes", "</s>"]
    assert "yes" in found["panel"].html


def test_the_check_sees_a_name_that_is_not_there():
    with pytest.raises(ImportError):
        run_blocks("```python\nfrom workbench.tasks import no_such_name\n```")


def test_the_family_of_the_python_page_is_one():
    text = (DOCS / "python.md").read_text(encoding="utf-8")
    found = run_blocks(text[text.index("## A family of your own") :])["family"]()
    assert [one.name for one in found.checkpoints] == ["aya-101"]
    assert found.badge == "MEASURED"


@pytest.mark.parametrize(
    ("html", "fetches"),
    [
        ('<a href="https://x.org/a">a</a> <img src="a.png"> <link rel="next" href="https://x.org">', []),
        ('<script async="" src="https://x.org/a.js"></script>', ["https://x.org/a.js"]),
        ('<link href="//x.org/a.css" rel="stylesheet">', ["//x.org/a.css"]),
        ("<style>p { background: url(http://x.org/a.png) }</style>", ["http://x.org/a.png"]),
    ],
)
def test_the_site_is_refused_if_a_page_would_fetch_from_elsewhere(tmp_path, html, fetches):
    configuration = runpy.run_path(str(DOCS / "conf.py"))
    (tmp_path / "page.html").write_text(html)
    assert configuration["outside_requests"](tmp_path) == [f"page.html: {one}" for one in fetches]
