"""The code that the documentation shows runs, and gives what it says."""

import re
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


def test_the_check_sees_a_name_that_is_not_there():
    with pytest.raises(ImportError):
        run_blocks("```python\nfrom workbench.tasks import no_such_name\n```")


def test_the_family_of_the_python_page_is_one():
    text = (DOCS / "python.md").read_text(encoding="utf-8")
    found = run_blocks(text[text.index("## A family of your own") :])["family"]()
    assert [one.name for one in found.checkpoints] == ["aya-101"]
    assert found.badge == "MEASURED"
