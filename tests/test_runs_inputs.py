"""Laws of "the same run": what a notebook reads is part of its id, and what is not covered stays outside it."""

import shutil

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from workbench import runs
from workbench.errors import BadInput
from workbench.paths import notebook_path
from workbench.runs.folders import finished
from workbench.runs.plans import plan

pytestmark = pytest.mark.usefixtures("the_package_stands_still")


def write(folder, *cells, parameters="x = 1"):
    folder.mkdir(exist_ok=True)
    tagged = new_code_cell(parameters, metadata={"tags": ["parameters"]})
    nbformat.write(new_notebook(cells=[tagged, *map(new_code_cell, cells)]), folder / "mine.ipynb")
    return folder / "mine.ipynb"


FILES = {
    "data.txt": "one",
    "other.txt": "one",
    "rows/a.txt": "one",
    "rows/__pycache__/a.pyc": "one",
    "helper.py": "import deeper.inner\nTABLE = 'other.txt'",
    "deeper/__init__.py": "",
    "deeper/inner.py": "from . import sibling",
    "deeper/sibling.py": "x = 1",
    "deeper/unused.py": "x = 1",
}


@pytest.fixture
def place(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


CODE = {
    "open('data.txt').read()": {"data.txt"},
    "from pathlib import Path\nPath('rows').iterdir()": {"rows"},
    "%run data.txt --fast": {"data.txt"},
    "!cat data.txt": {"data.txt"},
    "import helper": {"helper.py", "deeper/__init__.py", "deeper/inner.py", "deeper/sibling.py", "other.txt"},
    "from deeper import sibling as s": {"deeper/__init__.py", "deeper/sibling.py"},
    "import json, deeper.unused": {"deeper/__init__.py", "deeper/unused.py"},
}
NOT_COVERED = [
    "open('data' + '.txt')", "x = 'data.txt is a file'", "import os\nos.listdir('.')", "open('data.txt', 'w').write('')",
    "table.to_csv('data.txt')", "OUT = 'data.txt'\ntable.to_csv(OUT)", "Path('data.txt').write_text('data')", "import json",
    "open('/proc/meminfo')", "x = '\\ud83d'", "x = ''",
]  # fmt: skip


@pytest.mark.parametrize("code", CODE)
def test_what_code_names_by_a_literal_path_or_imports_from_beside_it_is_read(place, code):
    assert plan(write(place, code)).spec["reads"].keys() == CODE[code]


@pytest.mark.parametrize("code", NOT_COVERED)
def test_what_is_not_covered_is_not_said_to_be(place, code):
    assert plan(write(place, code)).spec["reads"] == {}


@pytest.mark.parametrize("value", ["data.txt", "rows", "./data.txt", ["data.txt"], {"first": "data.txt"}])
def test_what_a_parameter_names_relative_to_the_notebook_is_read(place, value):
    def id_of():
        return plan(write(place, "y = 1", parameters=f"file = {value!r}")).run_id

    before = id_of()
    assert id_of() == before, "the twin"
    (place / "data.txt").write_text("two")
    (place / "rows/a.txt").write_text("two")
    assert id_of() != before


def test_a_parameter_that_says_where_to_write_is_not_read(place):
    path = write(place, "table.to_csv(out)", parameters="out = 'data.txt'")
    assert plan(path).spec["reads"] == {}


@pytest.mark.parametrize(
    ("changed", "differs"),
    [
        ("data.txt", True), ("helper.py", True), ("deeper/sibling.py", True), ("other.txt", True), ("rows/a.txt", True),
        ("deeper/unused.py", False), ("rows/__pycache__/a.pyc", False),
    ],
)  # fmt: skip
def test_the_same_notebook_in_two_folders_is_the_same_run_if_what_it_reads_is_the_same(
    place, tmp_path_factory, changed, differs
):
    path = write(place, "import helper\nopen('data.txt')", "rows = 'rows'")
    copy = tmp_path_factory.mktemp("moved") / "elsewhere"
    shutil.copytree(place, copy)
    assert plan(copy / path.name).run_id == plan(path).run_id
    (copy / changed).write_text("y = 2")
    assert (plan(copy / path.name).run_id != plan(path).run_id) is differs


def test_a_module_that_changed_after_planning_is_refused_and_data_that_did_is_recorded(place):
    planned = plan(write(place, "import helper", "open('data.txt')"))
    (place / "data.txt").write_text("two")
    planned.still_holds()
    assert planned.reads.changed() == ["data.txt"]
    (place / "data.txt").write_text("one")
    assert planned.reads.changed() == [], "the same bytes again"
    (place / "deeper/sibling.py").unlink()
    with pytest.raises(BadInput, match=r"deeper/sibling\.py, which mine\.ipynb imports, changed"):
        planned.still_holds()


def test_a_run_during_which_its_data_changed_is_kept_and_done_again(place):
    """It opens the file to append by a name that the code puts together, and reads it by one that it says."""
    path = write(place, "open('data.txt').read()", "open('data' + '.txt', 'a').write('more')")
    first = runs.run(path, root=place / "runs")
    assert first.manifest["reads"].keys() == {"data.txt"}
    assert first.manifest["changed_meanwhile"] == ["data.txt"]
    assert finished(first.folder) is None


def test_notebooks_that_ship_read_nothing_beside_them_so_that_their_ids_do_not_depend_on_where_they_are(
    tmp_path,
):
    for path in notebook_path().glob("*.ipynb"):
        assert plan(path).spec["reads"] == {}
        assert plan(shutil.copy(path, tmp_path)).run_id == plan(path).run_id
